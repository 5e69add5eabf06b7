"""Function-preserving rewrites of operators into others that have a row in the policy table."""

from __future__ import annotations

import itertools

import numpy as np
import onnx_ir as ir

from converter.passes.base import Refuse, RewritePass
from converter.passes.values import (
    add_initializer,
    constant,
    drop_if_unused,
    is_op,
    small_ints,
    static_shape,
    take_place,
)


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
