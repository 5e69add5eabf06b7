"""Importing Keras quickly leaves the process as it was."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

from runtimes.keras_models.quick_import import alone, quick_import


@pytest.fixture(params=[False, True])
def is_alone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[bool]:
    """A process without Keras; of a command, or not."""
    for name in ("keras", "sklearn"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    token = alone.set(request.param)
    yield request.param
    alone.reset(token)
    gc.unfreeze()


def test_nothing_is_collected_and_what_commands_do_not_use_is_hidden(is_alone: bool) -> None:
    frozen = gc.get_freeze_count()
    with quick_import():
        assert not gc.isenabled()
        assert ("sklearn" in sys.modules) == is_alone
        if is_alone:
            with pytest.raises(ImportError):
                import sklearn  # noqa: F401
    assert gc.isenabled()
    assert "sklearn" not in sys.modules
    assert (gc.get_freeze_count() > frozen) == is_alone


def test_a_failing_import_leaves_nothing_behind(is_alone: bool) -> None:
    with pytest.raises(ImportError), quick_import():
        raise ImportError
    assert gc.isenabled()
    assert "sklearn" not in sys.modules


def test_what_is_imported_already_stays(is_alone: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    own = ModuleType("sklearn")
    monkeypatch.setitem(sys.modules, "sklearn", own)
    with quick_import():
        assert sys.modules["sklearn"] is own
    assert sys.modules["sklearn"] is own
