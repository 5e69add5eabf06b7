"""What a linear layer is to those who rank and refit it."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import onnx_ir as ir

from converter.pruning.operators.channels import IntArray
from converter.pruning.regression.normal_equations import Float64
from runtimes.base import Array
from runtimes.onnx_graph.values import constant


class LinearLayer(Protocol):
    """T = X·W + b over rows, one row for each place of the output.

    ``source`` names the value that X is made of. ``result`` names the value that T is; it is
    ``None`` where no value of the graph is T, which then is what the layer makes of X.
    ``result_axis`` is the axis of the outputs in ``result``. ``weight`` is the position of the
    weight among the node's inputs, ``columns_axis`` and ``outputs_axis`` its axes, ``fan`` how many
    columns each channel of X makes. ``from_reference``: X is what the reference computes, because
    the node's own output goes into it.
    """

    node: ir.Node
    source: str
    result: str | None
    result_axis: int
    weight: int
    columns_axis: int
    outputs_axis: int
    fan: int
    takes_bias: bool
    from_reference: bool

    def count_rows(self, data: Array) -> int:
        """Number of rows that a batch makes."""
        ...

    def rows(self, data: Array, chosen: IntArray) -> Array:
        """``X [groups, rows, columns]`` for the chosen rows."""
        ...

    def targets(self, result: Array, chosen: IntArray) -> Array:
        """``T [groups, rows, outputs]`` for the chosen rows."""
        ...

    def weights(self) -> Float64:
        """``W [groups, columns, outputs]``."""
        ...

    def bias(self) -> Float64:
        """``b [groups, outputs]``, zeros where there is none."""
        ...

    def write(self, weights: Float64, bias: Float64 | None) -> None:
        """Give the node these weights and this bias, in the type that its weight has."""
        ...


def is_own_weight(value: ir.Value | None) -> bool:
    """Whether ``value`` is a floating-point constant that no other node uses."""
    array = constant(value)
    return (
        array is not None
        and array.dtype.kind == "f"
        and value is not None
        and (len(value.uses()) == 1)
    )


def read(value: ir.Value | None) -> Float64:
    """A constant in float64."""
    array = constant(value)
    assert array is not None
    return array.astype(np.float64)


def overwrite(value: ir.Value | None, array: Float64) -> None:
    """Give a constant other numbers, in the type that it has."""
    assert value is not None
    assert value.const_value is not None
    numbers = np.ascontiguousarray(array.astype(value.const_value.dtype.numpy()))
    value.const_value = ir.tensor(numbers, name=value.name)
    value.shape = ir.Shape(numbers.shape)


def name_of(value: ir.Value | None) -> str:
    """Name of a value that is there."""
    assert value is not None
    return str(value.name)
