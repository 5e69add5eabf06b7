"""The launcher unpacks once, whoever starts it and whatever is in the way, and then hands over."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import sysconfig
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from converter.packaging.executable import launcher

pytestmark = pytest.mark.fast

# In place of kilnx: says what it was started with.
KILNX = """
import json, os, sys
def main():
    print(json.dumps({"arguments": sys.argv[1:], "path": sys.path[0], "file": __file__,
                      "inherited": os.environ["PYTHONPATH"]}))
"""
Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write an executable that holds a kilnx which only says how it was started."""

    def write(damaged: bool = False, **changes: Any) -> Path:
        content = {
            "lib/converter/__init__.py": b"",
            "lib/converter/__main__.py": KILNX.encode(),
            "bundle/model.onnx": b"model",
        }
        files = {
            name: {"sha256": hashlib.sha256(raw).hexdigest(), "size": len(raw)}
            for name, raw in content.items()
        }
        launch = {
            "commands": ["run", "drift"],
            "python": "3.11",
            "abi": sysconfig.get_config_var("SOABI"),
            "files": files,
            **changes,
        }
        if damaged:
            content["bundle/model.onnx"] = b"mo!el"
        path = tmp_path / "digits.pyz"
        with path.open("wb") as file:
            file.write(b"#!/usr/bin/env python3\n")
            with zipfile.ZipFile(file, "w") as held:
                for name, raw in content.items():
                    held.writestr(name, raw)
                held.writestr(launcher.LAUNCH, json.dumps(launch))
                held.writestr("__main__.py", Path(launcher.__file__).read_bytes())
        return path

    return write


def command(executable: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-I", "-S", str(executable), *arguments]


def start(executable: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"HOME": str(executable.parent / "home"), **variables}
    return subprocess.run(
        command(executable, *arguments),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )


def told(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def unpacked_in(root: Path) -> list[Path]:
    return [path for path in root.iterdir() if path.is_dir()]


def test_it_unpacks_to_the_cache_and_runs(make: Make) -> None:
    executable = make()
    found = told(start(executable, "--data", "x.npz"))
    root = executable.parent / "home/.cache/kilnx/executables"
    (folder,) = unpacked_in(root)
    assert found["arguments"] == ["run", str(folder / "bundle"), "--data", "x.npz"]
    assert found["file"] == str(folder / "lib/converter/__main__.py")
    assert found["path"] == found["inherited"] == str(folder / "lib")
    assert (folder / "bundle/model.onnx").read_bytes() == b"model"
    assert oct(root.stat().st_mode & 0o777) == oct(folder.stat().st_mode & 0o777) == "0o700"


def test_a_command_may_be_named(make: Make) -> None:
    executable = make()
    (_, bundle, *rest) = told(start(executable, "drift", "x.npz"))["arguments"]
    assert rest == ["x.npz"]
    assert told(start(executable, "run", "--json"))["arguments"] == ["run", bundle, "--json"]
    assert told(start(executable))["arguments"] == ["run", bundle]
    assert told(start(executable, "--version"))["arguments"] == ["--version"]


def test_the_second_start_unpacks_nothing(make: Make, tmp_path: Path) -> None:
    executable = make()
    told(start(executable))
    (folder,) = unpacked_in(tmp_path / "home/.cache/kilnx/executables")
    before = (folder / "bundle/model.onnx").stat()
    folder.parent.chmod(0o500)
    try:
        told(start(executable))
    finally:
        folder.parent.chmod(0o700)
    assert (folder / "bundle/model.onnx").stat() == before


def test_many_at_once_unpack_once(make: Make, tmp_path: Path) -> None:
    executable = make()
    environment = {"HOME": str(tmp_path / "home")}
    started = [
        subprocess.Popen(command(executable), env=environment, stdout=subprocess.PIPE)
        for _ in range(6)
    ]
    found = {process.communicate()[0] for process in started}
    assert len(found) == 1
    assert json.loads(found.pop())["arguments"][0] == "run"
    root = tmp_path / "home/.cache/kilnx/executables"
    assert len(unpacked_in(root)) == 1
    assert len(list(root.iterdir())) == 2  # and the lock


def test_what_a_cleaner_took_comes_back(make: Make, tmp_path: Path) -> None:
    executable = make()
    told(start(executable))
    (folder,) = unpacked_in(tmp_path / "home/.cache/kilnx/executables")
    (folder / "bundle/model.onnx").unlink()
    told(start(executable))
    assert (folder / "bundle/model.onnx").read_bytes() == b"model"
    (folder / "bundle/model.onnx").write_bytes(b"")
    told(start(executable))
    assert (folder / "bundle/model.onnx").read_bytes() == b"model"
    assert len(list(folder.parent.iterdir())) == 2


def test_what_a_killed_process_left_is_removed(make: Make, tmp_path: Path) -> None:
    executable = make()
    told(start(executable))
    root = tmp_path / "home/.cache/kilnx/executables"
    (folder,) = unpacked_in(root)
    left = root / f"{folder.name}.left"
    folder.rename(left)
    told(start(executable))
    assert not left.exists()
    assert folder.exists()


def test_a_process_waits_for_the_one_that_unpacks(make: Make, tmp_path: Path) -> None:
    executable = make()
    root = tmp_path / "cache"
    root.mkdir(mode=0o700)
    with zipfile.ZipFile(executable) as held:
        key = hashlib.sha256(held.read(launcher.LAUNCH)).hexdigest()
    with launcher.locked(root / f"{key}.lock"):
        waiting = subprocess.Popen(
            command(executable), env={launcher.CACHE: str(root)}, stdout=subprocess.PIPE
        )
        time.sleep(0.3)
        assert waiting.poll() is None
        assert not unpacked_in(root)
    assert json.loads(waiting.communicate()[0])["arguments"][0] == "run"


def test_a_damaged_executable_says_so_and_leaves_nothing(make: Make, tmp_path: Path) -> None:
    done = start(make(damaged=True))
    assert done.returncode == launcher.EXIT_UNAVAILABLE
    assert done.stderr.startswith("error: cannot unpack digits.pyz")
    assert "'bundle/model.onnx' is damaged; copy the executable again" in done.stderr
    assert not unpacked_in(tmp_path / "home/.cache/kilnx/executables")


@pytest.mark.parametrize("name", ["../out", "/out", "bundle/../../../out"])
def test_nothing_is_written_elsewhere(make: Make, tmp_path: Path, name: str) -> None:
    done = start(make(files={name: {"sha256": "", "size": 0}}))
    assert done.returncode == launcher.EXIT_UNAVAILABLE
    assert "leads out of the folder" in done.stderr


def test_another_python_is_refused_in_a_sentence(make: Make) -> None:
    done = start(make(abi="cpython-399-riscv64-linux-gnu", python="3.99"))
    assert done.returncode == launcher.EXIT_UNAVAILABLE
    assert (
        "digits.pyz needs Python 3.99 (cpython-399-riscv64-linux-gnu), and this is" in done.stderr
    )
    assert "Traceback" not in done.stderr


def test_the_cache_may_be_elsewhere(make: Make, tmp_path: Path) -> None:
    executable = make()
    told(start(executable, KILNX_CACHE_DIR=str(tmp_path / "own")))
    assert len(unpacked_in(tmp_path / "own")) == 1
    told(start(executable, XDG_CACHE_HOME=str(tmp_path / "xdg")))
    assert len(unpacked_in(tmp_path / "xdg/kilnx/executables")) == 1
    assert not (tmp_path / "home").exists()


def test_without_a_home_it_takes_a_folder_of_its_own(make: Make, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    (tmp_path / "tmp").mkdir()
    told(start(make(), TMPDIR=str(tmp_path / "tmp")))
    (root,) = (tmp_path / "tmp").iterdir()
    assert root.name == f"kilnx-executables-{os.geteuid()}"


def test_a_cache_that_others_can_write_to_is_refused(make: Make, tmp_path: Path) -> None:
    root = tmp_path / "shared"
    root.mkdir()
    root.chmod(0o777)
    done = start(make(), KILNX_CACHE_DIR=str(root))
    assert done.returncode == launcher.EXIT_UNAVAILABLE
    assert f"{root} can be written by other users" in done.stderr
    assert not list(root.iterdir())


def test_a_cache_behind_a_link_is_refused(make: Make, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    done = start(make(), KILNX_CACHE_DIR=str(tmp_path / "link"))
    assert "is not a folder of this user" in done.stderr
    assert not list((tmp_path / "real").iterdir())
