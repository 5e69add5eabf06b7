"""kilnx' own metadata, and the wheel that is made of what runs here."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path

import pytest

from converter.packaging.project import own_project
from converter.packaging.wheel import write_wheel
from runtimes.errors import RuntimeUnavailable

pytestmark = pytest.mark.fast

CLONE = """
[project]
name = "kilnx"
version = "2.3"
requires-python = ">=3.11"
dependencies = ["numpy>=1", "filelock>=3; sys_platform == 'linux'"]
[project.optional-dependencies]
cpu = ["onnxruntime>=1.20"]
web = ["loop[fast]>=1; sys_platform != 'win32' or python_version > '3'"]
"""


def test_a_clone_says_what_it_needs(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(CLONE)
    project = own_project(tmp_path)
    assert project.version == "2.3"
    assert project.extras == {"cpu", "web"}
    assert project.requires == (
        "numpy>=1",
        "filelock>=3; sys_platform == 'linux'",
        'onnxruntime>=1.20; extra == "cpu"',
        "loop[fast]>=1; (sys_platform != 'win32' or python_version > '3') and extra == \"web\"",
    )


def test_an_installation_says_what_it_needs(tmp_path: Path, site: Path) -> None:
    information = site / "kilnx-7.0.dist-info"
    information.mkdir()
    text = 'Name: kilnx\nVersion: 7.0\nRequires-Dist: a; extra == "cpu"\nProvides-Extra: cpu\n'
    (information / "METADATA").write_text(text)
    project = own_project(tmp_path)
    assert (project.version, project.requires) == ("7.0", ('a; extra == "cpu"',))
    assert project.extras == {"cpu"}


def test_without_either_it_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [])
    with pytest.raises(RuntimeUnavailable, match="kilnx itself is not installed"):
        own_project(tmp_path)


def test_the_wheel_is_complete_and_the_same_every_time(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    wheel = write_wheel(first, own_project())
    assert wheel.read_bytes() == write_wheel(second, own_project()).read_bytes()
    with zipfile.ZipFile(wheel) as held:
        names = held.namelist()
        information = f"kilnx-{own_project().version}.dist-info"
        record = held.read(f"{information}/RECORD").decode().splitlines()
        for line in record[:-1]:
            name, digest, size = line.rsplit(",", 2)
            content = held.read(name)
            found = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
            assert (digest, int(size)) == (f"sha256={found.decode()}", len(content)), name
    assert [line.split(",")[0] for line in record] == names
    assert {"converter/__main__.py", "runtimes/errors.py", "converter/py.typed"} <= set(names)
    assert not [name for name in names if "__pycache__" in name or name.startswith("tests")]
    assert {f"{information}/{name}" for name in ("WHEEL", "METADATA", "entry_points.txt")} < {
        *names
    }
