"""Apply a Dense layer to the last axis directly, without flattening the others around it.

TensorFlow computes Dense on (batch, time, features) as Reshape to a matrix, MatMul, Reshape
back; ONNX's MatMul accepts the leading axes directly.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from converter.passes.shapes.shape_data import dimensions
from runtimes.onnx_graph.rewrite import Refuse, RewritePass
from runtimes.onnx_graph.values import all_nodes, is_constant, is_op, only_user, rank, replace_value


class UnwrapMatMul(RewritePass):
    """Drop the Reshapes around a MatMul with a constant matrix.

    Needs shapes: run ``InferShapes`` before. There may be an Add of one number per feature, or of
    one number, in between. A pair stays if the second Reshape does anything but restore the
    leading axes.
    """

    def rewrite(self, model: ir.Model, refuse: Refuse) -> bool:
        """Unwrap in the main graph and its subgraphs."""
        modified = False
        for node in all_nodes(model):
            found = _wrapped(node) if is_op(node, "MatMul") else None
            if found is not None:
                _unwrap(found)
                modified = True
        return modified


@dataclass(frozen=True)
class _Wrapped:
    source: ir.Value
    before: ir.Node
    inside: tuple[ir.Node, ...]
    after: ir.Node


def _wrapped(matmul: ir.Node) -> _Wrapped | None:
    data, weight = matmul.inputs
    before = data.producer() if data is not None else None
    if before is None or not is_op(before, "Reshape") or not is_constant(weight):
        return None
    source, inside = before.inputs[0], [matmul]
    after = only_user(matmul.outputs[0])
    if after is not None and is_op(after, "Add") and _adds_to_features(after, matmul.outputs[0]):
        inside.append(after)
        after = only_user(after.outputs[0])
    if source is None or after is None or not is_op(after, "Reshape"):
        return None
    together = all(node.graph is matmul.graph for node in (before, *inside, after))
    if not together or only_user(before.outputs[0]) is not matmul:
        return None
    found = _Wrapped(source, before, tuple(inside), after)
    return found if _keeps_leading_axes(found) else None


def _keeps_leading_axes(found: _Wrapped) -> bool:
    weight, data = found.inside[0].inputs[1], found.before.outputs[0]
    assert weight is not None
    have, want = dimensions(found.source), dimensions(found.after.outputs[0])
    matrix, shape = dimensions(data), dimensions(weight)
    if have is None or want is None or matrix is None or shape is None:
        return False
    if len(have) < 3 or len(matrix) != 2 or len(shape) != 2:
        return False
    return have[:-1] == want[:-1] and have[-1] == matrix[1] and want[-1] == shape[1]


def _adds_to_features(add: ir.Node, data: ir.Value) -> bool:
    other = add.inputs[1] if add.inputs[0] is data else add.inputs[0]
    return is_constant(other) and (rank(other) or 0) <= 1


def _unwrap(found: _Wrapped) -> None:
    graph = found.after.graph
    assert graph is not None
    shape = found.after.outputs[0].shape
    found.inside[0].replace_input_with(0, found.source)
    for node in found.inside:
        node.outputs[0].shape = shape
    replace_value(found.after.outputs[0], found.inside[-1].outputs[0])
    graph.remove([found.after, found.before], safe=True)
