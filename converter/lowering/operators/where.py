"""Select as Where: tf2onnx multiplies by zero and one, and infinity times zero is no number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from converter.lowering.builder import Builder


def select(build: Builder, node: Any) -> Sequence[str]:
    """``Where(condition, x, y)``; Select's condition of rank one chooses among rows of x and y."""
    condition, x, y = node.input
    given, rank = build.shape(condition), len(build.shape(x) or ())
    if node.type == "Select" and given is not None and len(given) == 1 and rank > 1:
        condition = build.unsqueeze(condition, *range(1, rank))
    return [build.op("Where", condition, x, y)]
