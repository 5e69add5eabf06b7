"""What kilnx needs is found among what is installed, in its versions and with its files."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

from converter.packaging.installed import closure, engine_extra, installed_files, pinned
from runtimes.errors import RuntimeUnavailable

pytestmark = pytest.mark.fast

Install = Callable[..., None]
Needs = Callable[..., None]


def names(extras: list[str]) -> list[str]:
    return [one.name for one in closure(extras)]


def test_what_is_needed_by_what_is_needed_comes_along(install: Install, needs: Needs) -> None:
    install("zeta", ["alpha>=1", 'other; python_version < "3"'])
    install("alpha", ["zeta"])
    needs("zeta")
    assert names([]) == ["alpha", "zeta"]


def test_an_extra_adds_what_it_names(install: Install, needs: Needs) -> None:
    install("core")
    install("Web_Server", ['fast-loop; extra == "standard"'], ["standard"])
    install("fast-loop")
    needs("core", 'web-server[standard]; extra == "serve"')
    assert names([]) == ["core"]
    assert names(["serve"]) == ["core", "fast-loop", "Web_Server"]
    assert pinned(closure(["serve"])) == "core==1.5\nfast-loop==1.5\nweb-server==1.5\n"


def test_extras_of_kilnx_may_name_others(install: Install, needs: Needs) -> None:
    install("core")
    install("web")
    needs("core", 'web; extra == "serve"', 'kilnx[serve]; extra == "cpu"')
    assert names(["cpu"]) == ["core", "web"]


def test_what_is_not_installed_names_its_extra(needs: Needs) -> None:
    needs('no-such-server; extra == "serve"')
    with pytest.raises(RuntimeUnavailable, match=r"no-such-server is not installed.*'serve'"):
        closure(["serve"])


def test_an_extra_that_this_installation_lacks_is_refused(needs: Needs) -> None:
    needs(extras=["cpu"])
    with pytest.raises(RuntimeUnavailable, match="has no extra 'serve'; install this version"):
        closure(["serve"])


def test_the_real_core_is_complete_and_has_no_tensorflow() -> None:
    found = {name.lower() for name in names([engine_extra()])}
    assert {"numpy", "onnx", "typer"} <= found
    assert not found & {"tensorflow", "keras", "kilnx"}


def test_files_are_those_that_an_import_needs(install: Install) -> None:
    install("alpha")
    found = dict(installed_files(metadata.distribution("alpha")))
    assert list(found) == ["alpha-1.5.dist-info/METADATA", "alpha.py"]
    assert found["alpha.py"] == b"NAME = 'alpha'\n"


def test_a_file_that_was_changed_is_refused(install: Install, site: Path) -> None:
    install("alpha")
    (site / "alpha.py").write_text("NAME = 'evil'\n")
    with pytest.raises(RuntimeUnavailable, match=r"alpha.py of alpha 1.5 is not the file that was"):
        list(installed_files(metadata.distribution("alpha")))


@pytest.mark.parametrize("backport", [False, True])
def test_a_file_that_is_gone_is_refused(install: Install, site: Path, backport: bool) -> None:
    install("alpha")
    (site / "alpha.py").unlink()
    # Once the backport is imported, it finds distributions in place of Python's own.
    module = pytest.importorskip("importlib_metadata") if backport else metadata
    with pytest.raises(RuntimeUnavailable, match=r"cannot be read .*; install it again"):
        list(installed_files(module.distribution("alpha")))


def test_without_a_list_of_files_nothing_is_shipped(install: Install, site: Path) -> None:
    install("alpha")
    (site / "alpha-1.5.dist-info/RECORD").unlink()
    with pytest.raises(RuntimeUnavailable, match="alpha has no list of its files"):
        list(installed_files(metadata.distribution("alpha")))
