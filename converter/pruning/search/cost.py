"""What a selection of channels costs: multiply-adds of one sample, and parameters.

Counted without cutting anything: the places at which a layer multiplies do not change with
its channels, and the sizes of its weights follow from what stays.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from converter.pruning.groups.selection import Dependencies, Selection
from converter.pruning.operators.channels import IntArray
from quantizers.calibration.calibrate import bytes_per_sample
from runtimes.data.dataset import Dataset
from runtimes.onnx_graph.flops import uses_of_weight, weight_inputs
from runtimes.onnx_graph.values import constant, is_constant, is_op

# `bytes_per_sample` counts every element as a float32.
_ITEM_BYTES = 4


@dataclass(frozen=True)
class Cost:
    """Multiply-adds of one sample, and numbers in the weights."""

    macs: int
    parameters: int


@dataclass(frozen=True)
class _Product:
    """``times`` · sizes of axes, some of which lose channels: (size, channels or ``None``)."""

    times: float
    axes: tuple[tuple[int, IntArray | None], ...]

    def count(self, kept: Selection) -> float:
        sizes = (
            size if channels is None else size * kept.count(channels) / len(channels)
            for size, channels in self.axes
        )
        return self.times * math.prod(sizes)


class CostModel:
    """Counts the cost of any selection of one model's channels."""

    def __init__(self, model: ir.Model, dependencies: Dependencies, data: Dataset) -> None:
        along: dict[tuple[str, int], dict[int, IntArray]] = defaultdict(dict)
        for use in dependencies.uses:
            along[use.node, use.input][use.axis] = use.channels
        elements = _elements(model, data)
        self._macs: list[_Product] = []
        self._parameters: list[_Product] = []
        seen: set[ir.Value] = set()
        for node in model.graph:
            for index, value in enumerate(node.inputs):
                array = constant(value)
                if value is None or array is None:
                    continue
                axes = _axes(array.shape, along[str(node.name), index])
                times = _places(node, index, elements)
                if times:
                    self._macs.append(_Product(times, axes))
                if value not in seen and array.dtype.kind == "f":
                    seen.add(value)
                    self._parameters.append(_Product(1.0, axes))
            if is_op(node, "MatMul") and not any(map(is_constant, node.inputs)):
                self._macs += _attention(node, elements, dependencies)

    def count(self, kept: Selection) -> Cost:
        """The cost of what is kept."""
        return Cost(
            round(sum(product.count(kept) for product in self._macs)),
            round(sum(product.count(kept) for product in self._parameters)),
        )


def _axes(
    shape: Sequence[int], along: Mapping[int, IntArray]
) -> tuple[tuple[int, IntArray | None], ...]:
    return tuple((int(size), along.get(axis)) for axis, size in enumerate(shape))


def _elements(model: ir.Model, data: Dataset) -> Mapping[str, int]:
    """Elements of each value that a multiplying node reads or writes, for one sample."""
    names = dict.fromkeys(
        str(value.name)
        for node in model.graph
        if node.domain == "" and weight_inputs(node.op_type)
        for value in (*node.inputs[:2], *node.outputs[:1])
        if value is not None and not is_constant(value) and value.name
    )
    computed = [name for name in names if name not in data.input_names]
    found = bytes_per_sample(model, data, computed)
    sizes = {name: size // _ITEM_BYTES for name, size in found.items()}
    batch = next(iter(data.batches(1)))
    sizes.update({name: math.prod(array.shape[1:]) for name, array in batch.feed.items()})
    return sizes


def _places(node: ir.Node, index: int, elements: Mapping[str, int]) -> float:
    """How often a sample multiplies by each number of the weight at input ``index``."""
    if node.domain or index not in weight_inputs(node.op_type):
        return 0.0
    is_product = is_op(node, "MatMul", "Gemm")
    # The second weight of a recurrent layer is used as often as its first.
    shape = _shape(node, index if is_product else 1)
    if len(shape) < 2:
        return 0.0
    read, made = (_count(value, elements) for value in (node.inputs[0], node.outputs[0]))
    outputs = _outputs(node, index, shape) if is_product else None
    return uses_of_weight(node.op_type, shape, read, made, outputs)


def _outputs(node: ir.Node, index: int, shape: Sequence[int]) -> int:
    """Size of the axis of a matrix that is not summed over."""
    transposed = bool(node.attributes.get_int("transB" if index else "transA", 0))
    return shape[-1] if (index == 1) != transposed else shape[-2]


def _shape(node: ir.Node, index: int) -> tuple[int, ...]:
    array = constant(node.inputs[index])
    return () if array is None else array.shape


def _count(value: ir.Value | None, elements: Mapping[str, int]) -> int:
    return 0 if value is None else elements.get(str(value.name), 0)


def _attention(
    node: ir.Node, elements: Mapping[str, int], dependencies: Dependencies
) -> list[_Product]:
    """A product of two activations: the elements of the result times what is summed over."""
    left, result = node.inputs[0], node.outputs[0]
    if left is None or left.shape is None:
        return []
    depth = left.shape[-1]
    axes = dependencies.axes.get(str(result.name), ())
    summed = dependencies.axes.get(str(left.name), (None,))[-1]
    size = depth if isinstance(depth, int) else 1
    cut: list[tuple[int, IntArray | None]] = [(size, summed)]
    cut += [(1, channels) for channels in axes if channels is not None]
    return [_Product(elements[str(result.name)], tuple(cut))]
