"""Shape and type inference that does not read weights and does not hide errors."""

from __future__ import annotations

import re
from collections.abc import Sequence, Set

import onnx
import onnx_ir as ir

from runtimes.onnx_graph.rewrite import Refuse, RewritePass
from runtimes.onnx_graph.values import refine_shape, shape_of

# Larger tensors do not hold shapes, so only their own shape matters.
_KEPT_BYTES = 1024
# How onnx names a dimension that it invents; the numbering starts again in every call.
_INVENTED = re.compile(r"unk__\d+")


class InferShapes(RewritePass):
    """Fill in shapes and types of values with ONNX's own inference, with data propagation.

    What is already known stays, including numbers and names of dimensions. If a node contradicts
    itself or its neighbours, the contradiction is reported as a refusal, and the rest of the graph
    is inferred without it.
    """

    def rewrite(self, model: ir.Model, refuse: Refuse) -> bool:
        """Infer in the main graph and its subgraphs."""
        before = _known(model)
        _forget_invented_names(model)
        proto = ir.to_proto(skeleton(model))
        try:
            inferred = _infer(proto, strict=True)
        except onnx.shape_inference.InferenceError as error:
            _report(model, str(error), refuse)
            try:
                inferred = _infer(proto, strict=False)
            except onnx.shape_inference.InferenceError:
                return _known(model) != before
        _merge(model, inferred)
        return _known(model) != before


def _infer(proto: onnx.ModelProto, *, strict: bool) -> ir.Model:
    return ir.from_proto(
        onnx.shape_inference.infer_shapes(
            proto, check_type=True, strict_mode=strict, data_prop=True
        )
    )


def skeleton(model: ir.Model) -> ir.Model:
    """A copy of ``model`` whose larger weights have a type and a shape but no data."""
    copy = model.clone()
    for graph in copy.graphs():
        for value in graph.initializers.values():
            tensor = value.const_value
            if tensor is not None and not is_kept_whole(tensor):
                value.const_value = without_bytes(tensor)
        for node in graph:
            for name, attribute in node.attributes.items():
                if attribute.type == ir.AttributeType.TENSOR and not attribute.is_ref():
                    tensor = attribute.as_tensor()
                    if not is_kept_whole(tensor):
                        node.attributes[name] = ir.AttrTensor(name, without_bytes(tensor))
    return copy


def is_kept_whole(tensor: ir.TensorProtocol) -> bool:
    """Whether a skeleton keeps the numbers of this tensor."""
    return tensor.nbytes <= _KEPT_BYTES


def without_bytes(
    tensor: ir.TensorProtocol, shape: Sequence[int] | None = None
) -> ir.TensorProtocol:
    """A tensor with this type and this or another shape, whose data must not be read."""
    return ir.ExternalTensor(
        "never-read",
        0,
        tensor.nbytes,
        tensor.dtype,
        shape=ir.Shape(shape_of(tensor) if shape is None else shape),
        name=tensor.name or "",
    )


def _forget_invented_names(model: ir.Model) -> None:
    """Drop names from an earlier call, because the next one may reuse them."""
    kept = {
        dim.value
        for value in model.graph.inputs
        for dim in value.shape or ()
        if not isinstance(dim, int)
    }
    for graph in model.graphs():
        for node in graph:
            for value in node.outputs:
                if value.shape is not None and not value.is_graph_output():
                    value.shape = _public(value.shape, kept)


def _merge(model: ir.Model, inferred: ir.Model) -> None:
    for graph, other_graph in zip(model.graphs(), inferred.graphs(), strict=True):
        others = ir.convenience.create_value_mapping(other_graph, include_subgraphs=False)
        for node in graph:
            for value in node.outputs:
                other = others.get(value.name or "")
                if other is None:
                    continue
                if value.type is None:
                    value.type = other.type
                refine_shape(
                    value, _public(other.shape) if value.is_graph_output() else other.shape
                )


def _public(shape: ir.Shape | None, kept: Set[str | None] = frozenset()) -> ir.Shape | None:
    """A shape without invented names, which callers should not see."""
    if shape is None:
        return None
    return ir.Shape(
        None
        if not isinstance(dim, int)
        and dim.value not in kept
        and _INVENTED.fullmatch(dim.value or "")
        else dim
        for dim in shape
    )


def _known(model: ir.Model) -> list[str]:
    return [
        f"{value.type}{value.shape}"
        for graph in model.graphs()
        for node in graph
        for value in node.outputs
    ]


def _report(model: ir.Model, message: str, refuse: Refuse) -> None:
    """Assign each line of ONNX's error to the node that it names, or else to its operator."""
    nodes = [node for graph in model.graphs() for node in graph]
    for line in message.splitlines():
        found = re.search(r"\(op_type:(\w+)(?:, node name: (.*?))?\)\s*:?\s*(.*)", line)
        if found is None:
            continue
        op_type, name, complaint = found.groups()
        for node in nodes:
            if node.op_type == op_type and name in (None, node.name):
                refuse(node, f"its shapes do not fit: {complaint}")
                break
