"""Function-preserving rewrites of single operators into forms that have an INT8 kernel.

ONNX Runtime has an INT8 kernel for GlobalAveragePool, but not for the ReduceMean that Keras exports
become, and none for Split and PRelu.
"""

from __future__ import annotations

import itertools

import numpy as np
import onnx_ir as ir

from runtimes.onnx_graph.rewrite import Refuse, RewritePass
from runtimes.onnx_graph.values import (
    add_initializer,
    constant,
    drop_if_unused,
    is_op,
    rank,
    replace_value,
    small_ints,
    static_shape,
    take_place,
)


class SpatialMeanToGlobalAveragePool(RewritePass):
    """``ReduceMean`` over all spatial axes of ``[N, C, …]`` is ``GlobalAveragePool``.

    Keras averages channels-last: the Transpose (or, for one pixel, Reshape) in between goes. The
    average of one pixel is the pixel (the INT8 kernel takes ten times as long as float there).
    """

    def rewrite(self, model: ir.Model, refuse: Refuse) -> bool:
        """Replace each such mean; without ``keepdims`` a Flatten follows."""
        modified = False
        for mean in tuple(model.graph):
            if not is_op(mean, "ReduceMean") or mean.inputs[0] is None:
                continue
            axes, source = _mean_axes(mean), mean.inputs[0]
            keep = mean.attributes.get_int("keepdims", 1) != 0
            channels_last = _channels_last(source.producer())
            size = rank(source)
            if axes is None or size is None or size < 3:
                continue
            if channels_last is not None and not keep and axes == set(range(1, size - 1)):
                source = channels_last
            elif axes != set(range(2, size)):
                refuse(mean, "it does not average over all spatial axes of [N, C, …] alone")
                continue
            _replace_mean(mean, source, keep)
            modified = True
        return modified


def _mean_axes(mean: ir.Node) -> set[int] | None:
    size = rank(mean.inputs[0])
    if len(mean.inputs) > 1 and mean.inputs[1] is not None:
        axes = small_ints(mean.inputs[1])
    else:
        axes = tuple(mean.attributes.get_ints("axes", ())) or None
    return None if axes is None or size is None else {axis % size for axis in axes}


def _channels_last(node: ir.Node | None) -> ir.Value | None:
    """What ``node`` moves from ``[N, C, …]`` to ``[N, …, C]``."""
    if node is None or node.inputs[0] is None:
        return None
    size = rank(node.inputs[0])
    if size is None:
        return None
    if is_op(node, "Transpose"):
        wanted = [0, *range(2, size), 1]
        return node.inputs[0] if list(node.attributes.get_ints("perm", ())) == wanted else None
    if is_op(node, "Reshape") and node.inputs[0].shape and node.outputs[0].shape:
        inner, outer = list(node.inputs[0].shape)[1:], list(node.outputs[0].shape)[1:]
        ones = [1] * (size - 2)
        if isinstance(inner[0], int) and inner == [inner[0], *ones] and outer == [*ones, inner[0]]:
            return node.inputs[0]
    return None


def _replace_mean(mean: ir.Node, source: ir.Value, keep: bool) -> None:
    graph, output = mean.graph, mean.outputs[0]
    assert isinstance(graph, ir.Graph)
    new = []
    one_pixel = source.shape is not None and all(dim == 1 for dim in source.shape[2:])
    if not one_pixel:
        new.append(ir.node("GlobalAveragePool", [source], name=f"{mean.name}"))
        source = new[0].outputs[0]
        source.name, source.type = f"{output.name}_pooled", output.type
    if not keep:
        new.append(ir.node("Flatten", [source], {"axis": 1}, name=f"{mean.name}_flatten"))
    elif one_pixel:
        new.append(ir.node("Identity", [source], name=f"{mean.name}"))
    result = new[-1].outputs[0]
    result.type, result.shape = output.type, output.shape
    if not output.is_graph_output():
        result.name = output.name
    graph.insert_before(mean, new)
    replace_value(output, result)
    _remove_if_unused(mean)


def _remove_if_unused(node: ir.Node) -> None:
    if node.graph is None or any(out.uses() or out.is_graph_output() for out in node.outputs):
        return
    inputs = tuple(node.inputs)
    node.graph.remove(node, safe=True)
    drop_if_unused(inputs)
    for value in inputs:
        producer = value.producer() if value is not None else None
        if producer is not None:
            _remove_if_unused(producer)


class SplitToSlices(RewritePass):
    """``Split`` into parts of known sizes becomes one ``Slice`` a part, which moves bytes.

    Each part is copied either way. Refused where the sizes are not known.
    """

    def rewrite(self, model: ir.Model, refuse: Refuse) -> bool:
        """Replace each Split of floats in the main graph."""
        modified = False
        for split in tuple(model.graph):
            if not is_op(split, "Split") or split.inputs[0] is None:
                continue
            if split.inputs[0].dtype != ir.DataType.FLOAT:
                continue
            sizes, axis = _sizes(split), split.attributes.get_int("axis", 0)
            if sizes is None:
                refuse(split, "the sizes of its parts are not known")
                continue
            ends = list(itertools.accumulate(sizes))
            for output, size, end in zip(split.outputs, sizes, ends, strict=True):
                _slice(model.graph, split, output, (end - size, end, axis))
            unused = tuple(split.inputs[1:])
            model.graph.remove(split, safe=True)
            drop_if_unused(unused)
            modified = True
        return modified


class EqualSlopesToLeakyRelu(RewritePass):
    """``PRelu`` whose slopes are all one number is ``LeakyRelu``, which has an INT8 kernel."""

    def rewrite(self, model: ir.Model, refuse: Refuse) -> bool:
        """Replace each such PRelu in the main graph."""
        modified = False
        for node in tuple(model.graph):
            slopes = constant(node.inputs[1]) if is_op(node, "PRelu") else None
            if slopes is None or slopes.size == 0:
                continue
            if np.any(slopes != slopes.flat[0]):
                refuse(node, "its slopes differ, and ONNX Runtime has no INT8 kernel for that")
                continue
            old = node.inputs[1]
            node.op_type = "LeakyRelu"
            node.resize_inputs(1)
            node.attributes.add(ir.AttrFloat32("alpha", float(slopes.flat[0])))
            drop_if_unused([old])
            modified = True
        return modified


def _sizes(split: ir.Node) -> list[int] | None:
    if len(split.inputs) > 1 and split.inputs[1] is not None:
        given = small_ints(split.inputs[1])
        return None if given is None or len(given) != len(split.outputs) else list(given)
    shapes = [static_shape(output) for output in split.outputs]
    axis = split.attributes.get_int("axis", 0)
    if all(shape is not None for shape in shapes):
        return [shape[axis] for shape in shapes if shape is not None]
    whole = split.inputs[0].shape if split.inputs[0] is not None else None
    size = None if whole is None else whole[axis]
    if not isinstance(size, int):
        return None
    part = -(-size // len(split.outputs))
    return [min(part, size - start) for start in range(0, part * len(split.outputs), part)]


def _slice(graph: ir.Graph, split: ir.Node, output: ir.Value, bounds: tuple[int, int, int]) -> None:
    name = str(output.name)
    inputs = [
        add_initializer(graph, f"{name}_{what}", np.array([value], dtype=np.int64))
        for what, value in zip(("start", "end", "axis"), bounds, strict=True)
    ]
    node = ir.node("Slice", [split.inputs[0], *inputs], name=f"{name}_slice")
    new = node.outputs[0]
    new.type, new.shape = output.type, output.shape
    graph.insert_before(split, node)
    take_place(output, new)
