"""Where Node and npm packages are looked for, and what is said where they are not."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runtimes import RuntimeUnavailable, open_runtime
from runtimes.engines.onnxruntime_js import packages
from runtimes.engines.onnxruntime_js.packages import find_node, find_package
from runtimes.engines.providers import is_available

pytestmark = pytest.mark.fast

Install = Callable[[Path, str], Path]


@pytest.fixture
def install() -> Install:
    def write(folder: Path, version: str) -> Path:
        package = folder / "onnxruntime-web"
        package.mkdir(parents=True)
        (package / "package.json").write_text(json.dumps({"version": version}), "utf-8")
        return package

    return write


@pytest.fixture(autouse=True)
def empty_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("KILNX_NODE_MODULES", raising=False)


def test_packages_are_looked_for_in_three_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, install: Install
) -> None:
    cached = install(tmp_path / "cache" / "kilnx" / "node" / "node_modules", "1.1.0")
    assert (find_package("onnxruntime-web").folder, find_package("onnxruntime-web").version) == (
        cached,
        "1.1.0",
    )
    here = install(tmp_path / "here" / "node_modules", "1.2.0")
    assert find_package("onnxruntime-web").folder == here
    named = install(tmp_path / "named", "1.3.0")
    monkeypatch.setenv("KILNX_NODE_MODULES", str(tmp_path / "named"))
    assert find_package("onnxruntime-web").folder == named


def test_a_package_that_is_nowhere_comes_with_the_command_that_installs_it(tmp_path: Path) -> None:
    with pytest.raises(RuntimeUnavailable) as error:
        find_package("onnxruntime-web")
    assert error.value.exit_code == 3
    command = f"npm install --ignore-scripts --prefix {tmp_path}/cache/kilnx/node onnxruntime-web"
    assert str(error.value).startswith(
        f"the npm package onnxruntime-web is not installed: {command} ("
    )


@pytest.mark.parametrize("text", ["", "[]", "{}", "\x00"])
def test_a_damaged_package_is_named(tmp_path: Path, install: Install, text: str) -> None:
    package = install(tmp_path / "here" / "node_modules", "1")
    (package / "package.json").write_text(text, "utf-8")
    with pytest.raises(RuntimeUnavailable, match=r"package\.json does not tell a version"):
        find_package("onnxruntime-web")


def fake_node(folder: Path, says: str) -> Path:
    folder.mkdir(exist_ok=True)
    script = folder / "node"
    script.write_text(f"#!/bin/sh\n{says}\n", "utf-8")
    script.chmod(0o755)
    return script


@pytest.fixture
def no_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "venv" / "python"))


@pytest.mark.usefixtures("no_node")
def test_node_that_is_not_there_comes_with_the_extra() -> None:
    assert not is_available("onnxruntime-web")
    with pytest.raises(RuntimeUnavailable, match=r"^Node is not installed .* extra 'web'"):
        open_runtime("model.onnx", "onnxruntime-web")


@pytest.mark.usefixtures("no_node")
def test_the_program_behind_a_script_is_what_runs(tmp_path: Path) -> None:
    fake_node(tmp_path / "bin", """echo '["/opt/node/bin/node", "22.1.0"]'""")
    assert find_node() == "/opt/node/bin/node"


@pytest.mark.usefixtures("no_node")
def test_node_beside_python_is_found(tmp_path: Path) -> None:
    fake_node(tmp_path / "venv", """echo '["/opt/node/bin/node", "20.0.0"]'""")
    assert find_node() == "/opt/node/bin/node"


@pytest.mark.usefixtures("no_node")
def test_an_old_node_is_named(tmp_path: Path) -> None:
    script = fake_node(tmp_path / "bin", """echo '["/usr/bin/node", "12.22.9"]'""")
    with pytest.raises(
        RuntimeUnavailable, match=f"^{script} is Node 12; kilnx needs Node 18 or later: get one"
    ):
        find_node()


@pytest.mark.usefixtures("no_node")
@pytest.mark.parametrize("says", ["exit 1", "echo v20.1.0", "echo '[1]'", """echo '["a", "b"]'"""])
def test_what_is_not_node_is_named(tmp_path: Path, says: str) -> None:
    packages._ask_node.cache_clear()
    fake_node(tmp_path / "bin", says)
    with pytest.raises(RuntimeUnavailable, match="does not say its version, as Node does"):
        find_node()
