"""Which initializers of a graph are trained, as what, and how they are written back.

One initializer is one parameter, so that weights that are tied stay tied. Integers that a
DequantizeLinear reads are trained as the floats that they stand for: the graph rounds them to codes
whenever it runs (a "latent" weight).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from quantizers.training.code_grids import grid_of
from quantizers.training.operators.quantization import codes_of, limits_of
from quantizers.training.tensors import Tensor
from runtimes.base import Array
from runtimes.onnx_graph.values import is_constant

# Where operators read what was learned; elsewhere constants are settings.
_PLACES: Mapping[str, frozenset[int]] = {
    "BatchNormalization": frozenset({1, 2}),
    "Conv": frozenset({1, 2}),
    "ConvTranspose": frozenset({1, 2}),
    "DynamicQuantizeLSTM": frozenset({3, 7}),
    "Einsum": frozenset({0, 1, 2}),
    "GRU": frozenset({1, 2, 3}),
    "Gather": frozenset({0}),
    "Gemm": frozenset({0, 1, 2}),
    "GroupNormalization": frozenset({1, 2}),
    "InstanceNormalization": frozenset({1, 2}),
    "LSTM": frozenset({1, 2, 3, 7}),
    "LayerNormalization": frozenset({1, 2}),
    "MatMul": frozenset({0, 1}),
    "PRelu": frozenset({1}),
    "RMSNormalization": frozenset({1}),
    "RNN": frozenset({1, 2, 3}),
    "SimplifiedLayerNormalization": frozenset({1}),
}
# Scalars next to these are settings (a half, an epsilon); arrays were learned.
_WITH_ARRAYS = frozenset({"Add", "Div", "Mul", "Sub", "Sum"})
_MOVES = frozenset({"Cast", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
# What masks add, so that a softmax leaves places out, is no weight.
_MASK = 1e4


@dataclass(frozen=True)
class Parameter:
    """One initializer that is trained.

    Attributes:
        value: The initializer.
        scale: Scale of its codes in a shape that broadcasts to it, or None where it holds floats.
        zero_point: Likewise.
    """

    value: ir.Value
    scale: Array | None = None
    zero_point: Array | None = None

    @property
    def name(self) -> str:
        """The initializer's name."""
        return str(self.value.name)

    def initial(self, dtype: str) -> Array:
        """The floats that the initializer holds or stands for."""
        array: Array = np.asarray(_tensor(self.value).numpy())
        if self.scale is None:
            return array.astype(dtype)
        zero = 0 if self.zero_point is None else self.zero_point
        wide: Array = np.asarray((array.astype(np.float64) - zero) * self.scale)
        return wide.astype(dtype)

    def tensor(self, floats: Any) -> Tensor:
        """What the graph reads of ``floats``, the current value: themselves, or their codes."""
        if self.scale is None:
            return Tensor(floats)
        scale, zero, low, high = self._grid(floats.dtype)
        return Tensor(codes_of(floats, scale, zero, low, high))

    def stored(self, floats: Array) -> Array:
        """What the initializer holds for ``floats``, in its own dtype."""
        kind = _tensor(self.value).dtype
        if self.scale is None:
            return np.asarray(floats.astype(kind.numpy()))
        scale, zero, low, high = self._grid(floats.dtype)
        codes = np.clip(np.rint(floats.astype(np.float64) / scale) + zero, low, high)
        return np.asarray(codes.astype(kind.numpy()))

    def _grid(self, dtype: Any) -> tuple[Array, Array, float, float]:
        name = np.dtype(getattr(dtype, "name", dtype)).name
        zero = np.zeros(()) if self.zero_point is None else self.zero_point
        assert self.scale is not None
        return self.scale.astype(name), zero.astype(name), *limits_of(_tensor(self.value).dtype)


def parameters_of(model: ir.Model) -> dict[str, Parameter]:
    """The parameters of ``model`` by name, in the order of its initializers."""
    found = (_parameter(value) for value in model.graph.initializers.values())
    return {parameter.name: parameter for parameter in found if parameter is not None}


def _parameter(value: ir.Value) -> Parameter | None:
    if not is_constant(value) or value.const_value is None or value.is_graph_output():
        return None
    kind = value.const_value.dtype
    if kind.is_floating_point():
        return Parameter(value) if _is_learned(value) else None
    if kind.is_integer():
        return _latent(value)
    return None


def _is_learned(value: ir.Value) -> bool:
    array = np.asarray(_tensor(value).numpy())
    if not array.size or not np.isfinite(array).all() or np.abs(array).max() >= _MASK:
        return False
    uses = list(_uses(value))
    return bool(uses) and all(_is_place(node, place, array.size) for node, place in uses)


def _is_place(node: ir.Node, place: int, size: int) -> bool:
    if node.op_type in _WITH_ARRAYS:
        return size > 1
    return place in _PLACES.get(node.op_type, frozenset())


def _uses(value: ir.Value) -> Iterator[tuple[ir.Node, int]]:
    """Who reads the value in the end, past operators that only move it."""
    for node, place in value.uses():
        if node.op_type in _MOVES and place == 0:
            yield from _uses(node.outputs[0])
        else:
            yield node, place


def _latent(value: ir.Value) -> Parameter | None:
    """Codes that stand for floats wherever they are read, and only where floats are learned."""
    grid = grid_of(value)
    if grid is None or not all(_is_place(*use, size=2) for use in _widened(value)):
        return None
    return Parameter(value, grid.scale, grid.zero_point)


def _widened(value: ir.Value) -> Iterator[tuple[ir.Node, int]]:
    """Who reads the floats that the codes stand for; what was looked up is learned anyhow."""
    for node, _ in value.uses():
        if node.op_type == "DequantizeLinear":
            yield from _uses(node.outputs[0])
        elif node.op_type == "Transpose":
            yield from _widened(node.outputs[0])


def _tensor(value: ir.Value) -> ir.TensorProtocol:
    assert value.const_value is not None
    return value.const_value
