"""Importing a module by its former name works, and says where it is now."""

from __future__ import annotations

import sys
import warnings
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
        ("converter.pruning.layers.base", "converter.pruning.regression.base"),
    ],
)
def test_an_old_name_works_and_says_the_new_one(
    old: str, new: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, old, raising=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DeprecationWarning)
        found = import_module(old)
    assert f"{old} is now {new}" in {str(one.message) for one in caught}
    now = import_module(new)
    assert dir(found) == dir(now)
    public = [name for name in dir(now) if not name.startswith("_")]
    assert public
    assert [name for name in public if getattr(found, name) is not getattr(now, name)] == []
    with pytest.raises(AttributeError, match=rf"^{old} is now {new}, which has no 'nothing'$"):
        _ = found.nothing


def test_other_missing_modules_are_just_missing() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'runtimes\.nothing'"):
        import_module("runtimes.nothing")


def test_every_new_name_exists() -> None:
    assert [new for new in MOVED.values() if find_spec(new) is None] == []
