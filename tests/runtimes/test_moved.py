"""Importing a module by its former name says where it is now."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

import pytest

from runtimes.moved import MOVED


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("runtimes.ort", "runtimes.engines.ort"),
        ("converter.pipeline", "converter.compression.compress"),
        ("quantizers.judge", "converter.compression.quantize"),
    ],
)
def test_an_old_name_says_the_new_one(old: str, new: str) -> None:
    with pytest.raises(ModuleNotFoundError, match=rf"^{old} is now {new}$"):
        import_module(old)


def test_other_missing_modules_are_just_missing() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'runtimes\.nothing'"):
        import_module("runtimes.nothing")


def test_every_new_name_exists() -> None:
    assert [new for new in MOVED.values() if find_spec(new) is None] == []
