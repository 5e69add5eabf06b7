"""Function-preserving rewrites of transformer blocks into what ONNX Runtime runs fast.

What surrounds the matrix products decides there: in INT8 they take less than half of the time.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from runtimes.base import Array
from runtimes.onnx_graph.rewrite import Refuse, RewritePass
from runtimes.onnx_graph.values import add_initializer, constant, is_op, only_user


class RestoreGelu(RewritePass):
    """``x·(1 + erf(x/√2)) @ W = gelu(x) @ 2W``, so that ONNX Runtime sees the GELU.

    It fuses the five operators of ``x·(1 + erf(x/√2))·½`` into one kernel, but not where the
    half was folded into the weights behind. Doubling them again is exact. Refused where the
    result goes anywhere but into matrix products whose weights nothing else reads.
    """

    def rewrite(self, model: ir.Model, refuse: Refuse) -> bool:
        """Put each half back."""
        modified = False
        for product in tuple(model.graph):
            scaled = _scaling_of_doubled_gelu(product)
            if scaled is None:
                continue
            weights = _weights_behind(product.outputs[0])
            if weights is None:
                refuse(product, "its result does not go into matrix products alone")
                continue
            for weight in weights:
                array = constant(weight)
                assert array is not None
                weight.const_value = ir.tensor((2 * array).astype(array.dtype), name=weight.name)
            _halve(model.graph, product)
            _divide(model.graph, scaled)
            modified = True
        return modified


class KeepSumsApart(RewritePass):
    """``Add`` in front of ``LayerNormalization`` becomes ``Sum``, which computes the same.

    ONNX Runtime fuses the two into SkipLayerNormalization, whose CPU kernel is not vectorized: on
    the encoder of ``benchmarks/quantize.py`` it takes eight times as long as they do apart.
    """

    def rewrite(self, model: ir.Model, refuse: Refuse) -> bool:
        """Rename each such addition of two activations."""
        modified = False
        for node in tuple(model.graph):
            if not is_op(node, "LayerNormalization") or node.inputs[0] is None:
                continue
            add = node.inputs[0].producer()
            if add is None or not is_op(add, "Add"):
                continue
            if any(constant(value) is not None for value in add.inputs):
                refuse(add, "it adds a constant, which ONNX Runtime does not fuse")
                continue
            add.op_type = "Sum"
            modified = True
        return modified


def _scaling_of_doubled_gelu(product: ir.Node) -> ir.Node | None:
    """The ``x/√2`` of ``product = x·(1 + erf(x/√2))``, if that is not halved behind."""
    if not is_op(product, "Mul"):
        return None
    for x, factor in (product.inputs, tuple(reversed(product.inputs))):
        shifted = None if factor is None else factor.producer()
        erf, one = _with_scalar(shifted, "Add")
        inner = None if erf is None else erf.producer()
        if one != 1.0 or inner is None or not is_op(inner, "Erf") or inner.inputs[0] is None:
            continue
        scaled = inner.inputs[0].producer()
        for op_type, wanted in (("Div", np.sqrt(2.0)), ("Mul", np.sqrt(0.5))):
            source, scale = _with_scalar(scaled, op_type)
            if source is x and scale is not None and abs(scale / wanted - 1) < 1e-3:
                follower = only_user(product.outputs[0])
                return scaled if _with_scalar(follower, "Mul")[1] != 0.5 else None
    return None


def _with_scalar(node: ir.Node | None, op_type: str) -> tuple[ir.Value | None, float | None]:
    """The operand and the constant scalar of a binary ``node``; None where it is none."""
    if node is None or not is_op(node, op_type):
        return None, None
    left, right = node.inputs
    pairs = [(left, right)] if op_type == "Div" else [(left, right), (right, left)]
    for operand, scalar in pairs:
        array = constant(scalar)
        if array is not None and array.size == 1:
            return operand, float(array.reshape(()))
    return None, None


def _weights_behind(value: ir.Value) -> list[ir.Value] | None:
    """The weights of the matrix products that read ``value``; None where it goes elsewhere."""
    found = []
    for use in value.uses():
        if not is_op(use.node, "MatMul", "Gemm") or use.idx != 0:
            return None
        weight = use.node.inputs[1]
        array: Array | None = constant(weight)
        if array is None or weight is None or only_user(weight) is not use.node:
            return None
        found.append(weight)
    return found if found and not value.is_graph_output() else None


def _divide(graph: ir.Graph, scaled: ir.Node) -> None:
    """Let ``scaled`` divide by √2, as ONNX Runtime wants it."""
    if is_op(scaled, "Mul"):
        x = next(value for value in scaled.inputs if constant(value) is None)
        root = add_initializer(graph, f"{scaled.name}_root", np.sqrt(np.float32(2)))
        scaled.op_type = "Div"
        scaled.replace_input_with(0, x)
        scaled.replace_input_with(1, root)


def _halve(graph: ir.Graph, product: ir.Node) -> None:
    half = add_initializer(graph, f"{product.name}_half", np.asarray(0.5, dtype=np.float32))
    result = product.outputs[0]
    halved = ir.node("Mul", [result, half], name=f"{product.name}_halved")
    new = halved.outputs[0]
    new.name, new.type, new.shape = f"{result.name}_halved", result.type, result.shape
    result.replace_all_uses_with(new)
    halved.replace_input_with(0, result)
    graph.insert_after(product, halved)
