"""The command that adds an optional part of kilnx."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from runtimes import extras
from runtimes.extras import missing_extra, pip_install

ADDRESS = "https://example.org/kilnx"


class Distribution:
    """What pip left of an installation; ``None`` for one from a package index."""

    def __init__(self, origin: dict[str, Any] | None) -> None:
        self.origin = origin

    def read_text(self, name: str) -> str | None:
        assert name == "direct_url.json"
        return None if self.origin is None else json.dumps(self.origin)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Any:
    def install(origin: dict[str, Any] | None) -> None:
        monkeypatch.setattr(metadata, "distribution", lambda name: Distribution(origin))

    return install


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    folder = tmp_path / "a clone"
    folder.mkdir()
    (folder / "pyproject.toml").touch()
    return folder


def test_from_a_package_index(installed: Any) -> None:
    installed(None)
    assert pip_install("keras") == "pip install 'kilnx[keras]'"


@pytest.mark.parametrize("details", [{}, {"editable": True}])
def test_inside_the_clone(
    installed: Any, clone: Path, details: dict[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    installed({"url": clone.as_uri(), "dir_info": details})
    monkeypatch.chdir(clone)
    assert pip_install("keras") == "pip install '.[keras]'"


def test_outside_the_clone(installed: Any, clone: Path) -> None:
    installed({"url": clone.as_uri(), "dir_info": {}})
    assert pip_install("keras") == f"pip install '{clone}[keras]'"


def test_the_clone_is_gone(installed: Any, tmp_path: Path) -> None:
    installed({"url": (tmp_path / "gone").as_uri(), "dir_info": {}})
    assert pip_install("keras") == "pip install 'kilnx[keras]'"


def test_from_a_repository(installed: Any) -> None:
    installed({"url": ADDRESS, "vcs_info": {"vcs": "git", "commit_id": "0" * 40}})
    assert pip_install("gpu") == f"pip install 'kilnx[gpu] @ git+{ADDRESS}'"


def test_from_an_archive(installed: Any) -> None:
    installed({"url": f"{ADDRESS}.whl", "archive_info": {}})
    assert pip_install("gpu") == f"pip install 'kilnx[gpu] @ {ADDRESS}.whl'"


def test_run_without_being_installed(
    clone: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def absent(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", absent)
    # What runs here may be an installed copy: only a clone says where it is by its own place.
    monkeypatch.setattr(extras, "_CLONE", clone)
    monkeypatch.chdir(tmp_path)
    assert pip_install("keras") == f"pip install '{clone}[keras]'"
    monkeypatch.chdir(clone)
    assert pip_install("keras") == "pip install '.[keras]'"


def test_options_go_before_what_is_installed(installed: Any) -> None:
    installed(None)
    assert pip_install("cpu", "--force-reinstall") == "pip install --force-reinstall 'kilnx[cpu]'"


def test_a_message_names_the_package_the_extra_and_the_command(installed: Any) -> None:
    installed(None)
    assert missing_extra("Pillow", "images", "to read images") == (
        "Pillow is not installed (to read images); the extra 'images' brings it: "
        "pip install 'kilnx[images]'"
    )
    assert missing_extra("Pillow", "images").startswith("Pillow is not installed; the extra")
