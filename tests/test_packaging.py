"""What is installed: every package, named one by one, and nothing else."""

from __future__ import annotations

import configparser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def test_setup_cfg_names_every_package() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    named = config["options"]["packages"].split()
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for top in ("converter", "quantizers", "runtimes")
        for path in (ROOT / top).rglob("*.py")
    }
    assert sorted(named) == sorted(found)


@pytest.mark.parametrize("package", ["converter", "quantizers", "runtimes"])
def test_packages_are_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()
