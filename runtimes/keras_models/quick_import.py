"""Keras and TensorFlow imported in two thirds of the time.

A million objects are made, none of which is garbage, and Python looks through all of them again and
again; and Keras imports scikit-learn, where it is installed, for wrappers that nothing here uses.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

alone: ContextVar[bool] = ContextVar("alone", default=False)
"""Whether the process belongs to a command of kilnx: nobody misses Keras' wrappers, and what was
made so far stays to the end, so that no collection needs to look through it."""

_UNUSED = "sklearn"


@contextmanager
def quick_import() -> Iterator[None]:
    """Import Keras in here."""
    if "keras" in sys.modules:
        yield
        return
    collecting, hidden = gc.isenabled(), alone.get() and _UNUSED not in sys.modules
    gc.disable()
    if hidden:
        sys.modules[_UNUSED] = None  # type: ignore[assignment]  # Python's way to say: not there
    try:
        yield
    finally:
        if hidden:
            del sys.modules[_UNUSED]
        if alone.get():
            gc.freeze()
        if collecting:
            gc.enable()
