"""The lock names what runs here, exactly, in a form that pip takes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from converter.packaging.lock import requirements_lock

pytestmark = pytest.mark.fast


def _installed_from(site: Path, name: str, digest: str) -> None:
    origin = {"url": "https://host/file.whl", "archive_info": {"hashes": {"sha256": digest}}}
    folder = f"{name.replace('-', '_')}-1.5.dist-info"
    (site / folder / "direct_url.json").write_text(json.dumps(origin))


def test_every_line_is_an_exact_version() -> None:
    lines = [line for line in requirements_lock().splitlines() if not line.startswith("#")]
    found = {(one := Requirement(line)).name: one for line in lines}
    assert {"kilnx", "numpy", "onnx", "onnx-ir"} <= set(found)
    assert all(str(one.specifier).startswith("==") for one in found.values())
    assert not {"tensorflow", "keras", "uvicorn"} & set(found)
    assert next(iter(found)) == "kilnx"
    assert list(found)[1:] == sorted(list(found)[1:])


def test_digests_are_options_where_all_are_known(
    site: Path, install: Callable[..., None], needs: Callable[..., None]
) -> None:
    install("small-core")
    install("other")
    needs("small-core", "other")
    assert "small-core==1.5\n" in requirements_lock()
    _installed_from(site, "small-core", "ab")
    assert "small-core==1.5  # sha256:ab\n" in requirements_lock()
    _installed_from(site, "other", "cd")
    assert "small-core==1.5 --hash=sha256:ab\n" in requirements_lock()
    assert "other==1.5 --hash=sha256:cd\n" in requirements_lock()
