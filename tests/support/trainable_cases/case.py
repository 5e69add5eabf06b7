"""One node of a graph that trains, with what it reads, and how its arrays are made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Case:
    """A node of ``op_type``.

    Attributes:
        arrays: What it reads; None is left out.
        attributes: Its attributes.
        constant: The places of inputs that are initializers; the others are fed. By default
            integers are initializers, but for the first input.
        outputs: How many outputs it has.
        orders: Whether the first input is fed in both orders of axes: as it is, and behind a
            convolution by the identity, which leaves the channels last.
        differentiable: Whether gradients are compared.
        judge: What values are compared with: ONNX Runtime, or ONNX' reference.
        tolerance: The error that is allowed, relative to the largest value.
    """

    op_type: str
    arrays: tuple[Array | None, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    opset: int = 18
    domain: str = ""
    constant: frozenset[int] | None = None
    outputs: int = 1
    orders: bool = True
    differentiable: bool = True
    judge: str = "ort"
    tolerance: float = 2e-6

    @property
    def initializers(self) -> frozenset[int]:
        """The places of inputs that are initializers."""
        if self.constant is not None:
            return self.constant
        found = [array is not None and array.dtype.kind != "f" for array in self.arrays]
        return frozenset(place for place, is_other in enumerate(found) if is_other and place)

    @property
    def label(self) -> str:
        """What the case is called."""
        parts = [f"{name}={_short(value)}" for name, value in self.attributes.items()]
        shapes = ["none" if array is None else _short(array.shape) for array in self.arrays]
        return "-".join([self.op_type, *shapes, *parts, f"opset{self.opset}"])


def case(op_type: str, *arrays: Any, opset: int = 18, **attributes: Any) -> Case:
    """A case with standard options."""
    read = tuple(None if array is None else np.asarray(array) for array in arrays)
    return Case(op_type, read, attributes, opset)


def floats(*shape: int, seed: int = 0) -> Array:
    """Normal numbers, other ones for other shapes."""
    rng = np.random.default_rng([seed, *shape])
    return np.asarray(rng.normal(size=shape), np.float32)


def positive(*shape: int, low: float = 0.5, high: float = 2.0) -> Array:
    """Numbers between two bounds."""
    rng = np.random.default_rng([7, *shape])
    return rng.uniform(low, high, size=shape).astype(np.float32)


def ints(*numbers: int) -> Array:
    """A vector of int64."""
    return np.array(numbers, np.int64)


def indices(high: int, *shape: int, low: int = 0) -> Array:
    """Integers of int64 from ``low`` to below ``high``."""
    return np.random.default_rng([11, *shape]).integers(low, high, size=shape)


def distinct(*shape: int) -> Array:
    """All different, in a random order, so that a largest one is far from the next."""
    count = int(np.prod(shape))
    order = np.random.default_rng([13, *shape]).permutation(count)
    return ((order.reshape(shape) + 0.5) / count * 4 - 2).astype(np.float32)


def _short(value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "x".join(map(_short, value))
    return f"{value:g}" if isinstance(value, float) else str(value)[:24]
