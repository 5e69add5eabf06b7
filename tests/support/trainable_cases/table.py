"""The cases of all operators."""

from __future__ import annotations

from trainable_cases import arrays, elementwise, quantization, recurrent, windows
from trainable_cases.case import Case


def all_cases() -> list[Case]:
    """Every case."""
    return [
        *arrays.cases(),
        *elementwise.cases(),
        *quantization.cases(),
        *recurrent.cases(),
        *windows.cases(),
    ]
