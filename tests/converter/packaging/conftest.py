"""Distributions that exist for one test only, and a server that is installed."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from runtime_fixtures import graph, saved  # noqa: F401

from converter.packaging import installed
from converter.packaging.project import Project

Install = Callable[..., None]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed distributions, before all others."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    return folder


@pytest.fixture
def install(site: Path) -> Install:
    """Install a distribution of one module."""

    def put(name: str, requires: Sequence[str] = (), extras: Sequence[str] = ()) -> None:
        module = f"{name.lower().replace('-', '_')}.py"
        content = f"NAME = {name!r}\n".encode()
        (site / module).write_bytes(content)
        information = site / f"{name.replace('-', '_')}-1.5.dist-info"
        information.mkdir()
        lines = [f"Requires-Dist: {one}\n" for one in requires]
        lines += [f"Provides-Extra: {one}\n" for one in extras]
        text = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n{''.join(lines)}"
        (information / "METADATA").write_text(text)
        (information / "direct_url.json").write_text("{}")
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        record = [f"{module},sha256={digest},{len(content)}", "../../bin/tool,,"]
        record += [f"{information.name}/{file},," for file in ("METADATA", "direct_url.json")]
        (information / "RECORD").write_text("\n".join([*record, f"__pycache__/{name}.pyc,,"]))

    return put


@pytest.fixture
def needs(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make kilnx need something else: requirements, with markers of extras."""

    def set_needs(*requires: str, extras: Sequence[str] = ("cpu", "serve")) -> None:
        project = Project("Name: kilnx\n", "0.1.0", tuple(requires), frozenset(extras))
        monkeypatch.setattr(installed, "own_project", lambda: project)

    return set_needs


@pytest.fixture
def small_server(install: Install, needs: Callable[..., None]) -> None:
    """A kilnx that needs one distribution, and another one to serve."""
    install("small-core")
    install("small-web")
    needs("small-core", 'small-web; extra == "serve"', extras=("cpu", "gpu", "serve"))
