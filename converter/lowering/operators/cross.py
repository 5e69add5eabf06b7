"""The vector product, from its six products."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from converter.lowering.builder import Builder


def cross(build: Builder, node: Any) -> Sequence[str]:
    """Cross of vectors (…, 3)."""
    a, b = node.input

    def turned(x: str, order: Sequence[int]) -> str:
        return build.op("Gather", x, build.constant(order), axis=-1)

    ahead, behind = [1, 2, 0], [2, 0, 1]
    first = build.op("Mul", turned(a, ahead), turned(b, behind))
    second = build.op("Mul", turned(a, behind), turned(b, ahead))
    return [build.op("Sub", first, second)]
