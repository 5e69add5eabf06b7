"""kilnx itself as a wheel, from the packages that run here.

https://packaging.python.org/en/latest/specifications/binary-distribution-format/
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from converter.packaging.installed import record_digest
from converter.packaging.project import Project
from converter.packaging.zip_file import write_zip

_PACKAGES = ("converter", "quantizers", "runtimes")
_WHEEL = b"""\
Wheel-Version: 1.0
Generator: kilnx
Root-Is-Purelib: true
Tag: py3-none-any
"""


def own_files(project: Project) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of everything that an installed kilnx consists of.

    The code is what is imported here, so that a clone that was installed as editable is complete.
    """
    for package in _PACKAGES:
        for root in _roots(package):
            for path in sorted(root.rglob("*")):
                inside = path.relative_to(root.parent)
                if path.is_file() and "__pycache__" not in inside.parts and path.suffix != ".pyc":
                    yield inside.as_posix(), path.read_bytes()
    yield from project.wheel_files()


def write_wheel(folder: Path, project: Project) -> Path:
    """Write the wheel into ``folder``; the same code gives the same bytes."""
    information = f"kilnx-{project.version}.dist-info"
    files = {**dict(own_files(project)), f"{information}/WHEEL": _WHEEL}
    record = f"{information}/RECORD"
    lines = [
        f"{name},sha256={record_digest(content, 'sha256')},{len(content)}"
        for name, content in files.items()
    ]
    files[record] = "".join(f"{line}\n" for line in (*lines, f"{record},,")).encode()
    path = folder / f"kilnx-{project.version}-py3-none-any.whl"
    with path.open("wb") as file:
        write_zip(file, files.items())
    return path


def _roots(package: str) -> list[Path]:
    spec = find_spec(package)
    assert spec is not None, package
    return [Path(place) for place in spec.submodule_search_locations or ()]
