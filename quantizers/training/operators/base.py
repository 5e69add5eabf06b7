"""What an operator of the training graph sees of its node, and how it refuses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from quantizers.training.tensors import Tensor, static
from runtimes.errors import UnsupportedOperator
from runtimes.onnx_graph.layer_names import layer_of

_FARTHEST = 2**31 - 2

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Call:
    """One node with what it reads.

    ``opset``: the version of the standard operators; ``dtype``: NumPy's name of the dtype in which
    floats are computed.
    """

    node: ir.Node
    inputs: Sequence[Tensor | None]
    opset: int
    dtype: str

    def __getitem__(self, place: int) -> Tensor:
        """The input at ``place``, which the operator's specification requires."""
        found = self.optional(place)
        if found is None:
            raise self.refuse(f"its input {place} is missing")
        return found

    def optional(self, place: int) -> Tensor | None:
        """The input at ``place``, or None where it is left out."""
        return self.inputs[place] if place < len(self.inputs) else None

    def first(self, place: int) -> Any:
        """The data of the input at ``place`` in ONNX' order of axes."""
        return self[place].first

    def attribute(self, name: str, default: Any = None) -> Any:
        """The value of an attribute, or ``default``."""
        found = self.node.attributes.get(name)
        if found is None:
            return default
        value = found.value
        return value.decode() if isinstance(value, bytes) else value

    def known(self, place: int, what: str) -> Array:
        """The input at ``place`` as an array; refused where it is known only at run time."""
        found = static(self.first(place))
        if found is None:
            raise self.refuse(f"its {what} are known only at run time")
        return found

    def integers(self, place: int, what: str) -> list[int]:
        """The integers in the input at ``place``, as ``known``."""
        return [int(number) for number in self.known(place, what).reshape(-1)]

    def numbers(self, place: int) -> list[Any]:
        """The integers in the input at ``place``: numbers, or scalar tensors where not known."""
        import tensorflow as tf

        found = static(self.first(place))
        if found is not None:
            return [int(number) for number in found.reshape(-1)]
        given = tf.reshape(self.first(place), [-1])
        if given.shape[0] is None:
            raise self.refuse(f"how many numbers its input {place} has is known only at run time")
        # Bounds that are far outside mean the edge, and TensorFlow's are 32-bit.
        given = tf.cast(tf.clip_by_value(given, -_FARTHEST, _FARTHEST), tf.int32)
        return [_or_tensor(number) for number in tf.unstack(given)]

    def refuse(self, reason: str) -> UnsupportedOperator:
        """The error that names the node and says why it cannot be trained."""
        return UnsupportedOperator(
            f"{_described(self.node)} cannot be trained: {reason}; leave out training for this "
            "model (--no-recover)"
        )


def _or_tensor(number: Any) -> Any:
    known = static(number)
    return number if known is None else int(known)


Operator = Callable[[Call], Sequence[Tensor]]
"""Computes the outputs of a node, in order; trailing outputs that nobody reads may be missing."""


def unknown(node: ir.Node) -> UnsupportedOperator:
    """The error for an operator that no table has."""
    return UnsupportedOperator(
        f"{_described(node)} cannot be trained: kilnx has no gradient for it; leave out training "
        "for this model (--no-recover)"
    )


def _described(node: ir.Node) -> str:
    domain = f"{node.domain}." if node.domain else ""
    layer = layer_of(node)
    where = f" of layer {layer!r}" if layer else ""
    return f"{domain}{node.op_type} {node.name or ''}".rstrip() + where
