"""Ways to damage a model by what it means: every part of an ONNX file that a tool relies on."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

Change = Callable[[Any, random.Random], None]
"""Changes a ModelProto in place."""

_NUMBERS = (-(2**63), -(2**31), -2, -1, 0, 1, 2, 3, 7, 64, 2**20, 2**31, 2**40, 2**62, 2**63 - 1)
_FLOATS = (float("nan"), float("inf"), -float("inf"), 0.0, -1.0, 1e-45, 1e38)
_PLACES = (
    *("", ".", "..", "../x", "/etc/passwd", "/dev/zero", "C:\\x", "m.onnx", "n.npz", "store"),
    *("nobody", "a\0", "a/../m.npz", "old/model.onnx", "x" * 5000, "\n", "m.npz/"),
)
_NAMES = ("", "x", "y", "nobody", "a" * 5000, "a/b\n", "é", "../z")
_TYPES = (1, 1, 2, 3, 6, 7, 8, 9, 10, 11, 14, 16, 17, 21, 22, 23)


def damaged_model(raw: bytes, rng: random.Random) -> bytes:
    """Make a few changes to a model."""
    proto = onnx.ModelProto.FromString(raw)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        rng.choice(CHANGES)(proto, rng)
    return bytes(proto.SerializeToString())


def _frame_of_tensor(proto: Any, rng: random.Random) -> None:
    """Another shape or type over the same bytes."""
    tensor = _a(proto.graph.initializer, rng)
    kind = rng.randrange(4)
    if tensor is None:
        return
    if kind == 0 and tensor.dims:
        tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(_NUMBERS)
    elif kind == 1:
        tensor.data_type = rng.randrange(30)
    elif kind == 2:
        sizes = list(tensor.dims)
        rng.shuffle(sizes)  # as many values, in another shape
        del tensor.dims[:]
        tensor.dims.extend(rng.choice((sizes, [1, *sizes], [*sizes, 1], [-1], [], [0, *sizes])))
    else:
        start = rng.randrange(len(tensor.raw_data) + 1)
        tensor.raw_data = tensor.raw_data[:start] + rng.randbytes(rng.choice((0, 4, 32)))


def _values_of_tensor(proto: Any, rng: random.Random) -> None:
    """Another tensor, valid by itself: other values, type, shape or way to be stored."""
    tensor = _a(proto.graph.initializer, rng)
    if tensor is None:
        return
    try:
        values = numpy_helper.to_array(tensor)
    except Exception:  # an earlier change was to it
        return
    kind = rng.randrange(6)
    if kind == 0 and values.size:
        values = values.copy()
        numbers = _FLOATS if values.dtype.kind == "f" else (-1, 0, 1, 3, 99, 2**31 - 1)
        values.reshape(-1)[rng.randrange(values.size)] = rng.choice(numbers)
    elif kind == 1:
        values = values.astype(rng.choice(("f2", "f4", "f8", "i4", "i8", "i1", "u1", "?", "c8")))
    elif kind == 2:
        shape = [rng.choice((size, size, size + 1, 2 * size, 0, 1)) for size in values.shape]
        values = np.resize(values, rng.choice((shape, [*shape, 1], [1, *shape], [])))
    elif kind == 3:
        values = np.full_like(values, rng.choice((0, 1)))
    elif kind == 4:
        values = np.array([b"a"] * max(1, values.size), object)
    new = numpy_helper.from_array(values, tensor.name)
    if kind == 5 and values.dtype == np.float32:  # in the field of its type
        new = helper.make_tensor(tensor.name, 1, values.shape, values.reshape(-1).tolist())
    tensor.CopyFrom(new)


def _external(proto: Any, rng: random.Random) -> None:
    """A tensor whose values are, as it says, in another file."""
    tensor = _a(proto.graph.initializer, rng)
    if tensor is None:
        return
    size = len(tensor.raw_data)
    if rng.random() < 0.8:
        tensor.ClearField("raw_data")
    tensor.data_location = 1
    numbers = ("-1", "0", "4", str(2**62), "1e3", "x", "", "٣", str(size))
    location = rng.choice((*_PLACES, "m.npz", "m.npz", "m.npz"))
    tensor.external_data.add(key="location", value=location)
    for key, usual in (("offset", "64"), ("length", str(size))):
        if rng.random() < 0.8:
            value = usual if rng.random() < 0.6 else rng.choice(numbers)
            tensor.external_data.add(key=key, value=value)
    if rng.random() < 0.2:
        tensor.external_data.add(key=rng.choice(("location", "checksum", "")), value="m.npz")


def _names_of_tensors(proto: Any, rng: random.Random) -> None:
    """Tensors that are missing, or have the name of something else."""
    tensors = proto.graph.initializer
    tensor = _a(tensors, rng)
    if tensor is None:
        return
    kind = rng.randrange(4)
    if kind == 0:
        tensors.remove(tensor)
    elif kind == 1:
        tensors.add().CopyFrom(tensor)
    elif kind == 2:
        tensor.name = rng.choice((*_NAMES, *(other.name for other in tensors)))
    else:  # as files before ONNX 1.4 have it: callers can replace it
        proto.graph.input.append(
            helper.make_tensor_value_info(
                tensor.name, tensor.data_type, rng.choice((list(tensor.dims), ["N"], [], None))
            )
        )


def _an_attribute(proto: Any, rng: random.Random) -> None:
    node = _a([n for n in _nodes(proto.graph) if n.attribute], rng)
    if node is None:
        return
    attribute = rng.choice(node.attribute)
    kind = rng.randrange(7)
    if kind == 0 and attribute.ints:
        attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice(_NUMBERS)
    elif kind == 1 and attribute.type == onnx.AttributeProto.INT:
        attribute.i = rng.choice(_NUMBERS)
    elif kind == 2 and attribute.ints:
        attribute.ints.extend([rng.choice(_NUMBERS)] * rng.randrange(1, 4))
    elif kind == 3:
        attribute.f = rng.choice(_FLOATS)
        attribute.type = rng.choice((1, 1, rng.randrange(15)))
    elif kind == 4:
        attribute.name = rng.choice((*_NAMES, "axis", "auto_pad", "group", "keepdims", "to"))
    elif kind == 5:
        node.attribute.add().CopyFrom(attribute)
    else:
        node.attribute.remove(attribute)


def _a_new_attribute(proto: Any, rng: random.Random) -> None:
    """One that the operator may have and the model has not."""
    node = rng.choice(list(_nodes(proto.graph)) or [onnx.NodeProto()])
    name, value = rng.choice(
        (
            *((n, rng.choice(_NUMBERS)) for n in ("axis", "group", "keepdims", "to", "ceil_mode")),
            *((n, [rng.choice(_NUMBERS)] * 2) for n in ("strides", "dilations", "axes", "perm")),
            ("pads", [rng.choice(_NUMBERS)] * 4),
            ("auto_pad", rng.choice(("SAME_UPPER", "SAME_LOWER", "VALID", "nobody", ""))),
            *((n, rng.choice(_FLOATS)) for n in ("alpha", "beta", "epsilon")),
        )
    )
    node.attribute.append(helper.make_attribute(name, value))


def _an_edge(proto: Any, rng: random.Random) -> None:
    graph = proto.graph
    names = [n for node in graph.node for n in (*node.input, *node.output)]
    names += [value.name for value in (*graph.input, *graph.output)] + ["", "nobody"]
    node = _a(graph.node, rng)
    if node is None:
        return
    held = rng.choice((node.input, node.output))
    if held and rng.random() < 0.7:
        held[rng.randrange(len(held))] = rng.choice(names)
    elif held and rng.random() < 0.5:
        del held[rng.randrange(len(held)) :]
    else:
        held.append(rng.choice(names))


def _a_circle(proto: Any, rng: random.Random) -> None:
    """A node that reads what is made of its own result."""
    nodes = proto.graph.node
    if len(nodes) < 2:
        return
    first, last = sorted(rng.sample(range(len(nodes)), 2))
    if nodes[first].input and nodes[last].output:
        nodes[first].input[rng.randrange(len(nodes[first].input))] = nodes[last].output[0]


_OPERATORS = (
    *("Loop", "Scan", "If", "ConstantOfShape", "Reshape", "Tile", "Expand", "Range", "NonZero"),
    *("Squeeze", "Flatten", "Resize", "LSTM", "SequenceAt", "Identity", "QuantizeLinear", "Pad"),
    *("RandomNormal", "Optional", "BatchNormalization", "ConvTranspose", "Gather", "Nobody", ""),
)


def _an_operator(proto: Any, rng: random.Random) -> None:
    node = _a(proto.graph.node, rng)
    if node is None:
        return
    others = [other.op_type for other in proto.graph.node]
    node.op_type = rng.choice((*others, *_OPERATORS))
    node.domain = rng.choice(("", "", "", "", "ai.onnx", "com.microsoft", "ai.onnx.ml", "nobody"))


def _a_node(proto: Any, rng: random.Random) -> None:
    nodes = proto.graph.node
    if not nodes:
        return
    place = rng.randrange(len(nodes))
    kind = rng.randrange(4)
    if kind == 0:
        del nodes[place]
    elif kind == 1:
        nodes.add().CopyFrom(nodes[place])
    elif kind == 2:
        other = onnx.NodeProto.FromString(nodes[place].SerializeToString())
        del nodes[place]
        nodes.append(other)  # after its readers
    else:
        nodes[place].name = rng.choice((*_NAMES, *(node.name for node in nodes)))


def _an_interface(proto: Any, rng: random.Random) -> None:
    value = _a((*proto.graph.input, *proto.graph.output), rng)
    if value is None:
        return
    dims = value.type.tensor_type.shape.dim
    kind = rng.randrange(8)
    if kind == 0 and dims:
        dims[rng.randrange(len(dims))].dim_value = rng.choice(_NUMBERS)
    elif kind == 1 and dims:
        dims[rng.randrange(len(dims))].dim_param = rng.choice((*_NAMES, "N", "-1", "2*N"))
    elif kind == 2:
        value.type.tensor_type.elem_type = rng.choice((*_TYPES, rng.randrange(30)))
    elif kind == 3:
        value.name = rng.choice(_NAMES)
    elif kind == 4 and dims:
        del dims[rng.randrange(len(dims))]
    elif kind == 5:
        value.type.tensor_type.ClearField("shape")
    elif kind == 6:
        element = helper.make_tensor_type_proto(1, None)
        others = (
            helper.make_sequence_type_proto(element),
            helper.make_optional_type_proto(element),
        )
        value.type.CopyFrom(rng.choice((*others, onnx.TypeProto())))
    else:
        held = rng.choice((proto.graph.input, proto.graph.output))
        if held and rng.random() < 0.5:
            held.remove(rng.choice(held))
        else:
            held.add().CopyFrom(value)


def _a_new_interface(proto: Any, rng: random.Random) -> None:
    """One more input that nobody reads, or one more output: any value of the graph."""
    graph = proto.graph
    shape = rng.choice(([], ["N"], ["N", 3], [0], [2**40], [-1, 4], None, ["M", "K", 1]))
    if rng.random() < 0.5:
        name, kind = rng.choice(("more", "labels", "y")), rng.choice(_TYPES)
        graph.input.append(helper.make_tensor_value_info(name, kind, shape))
        return
    names = [name for node in graph.node for name in (*node.input, *node.output)] or ["x"]
    graph.output.append(helper.make_tensor_value_info(rng.choice(names), 1, shape))


def _a_version(proto: Any, rng: random.Random) -> None:
    kind = rng.randrange(4)
    if kind == 0:
        proto.ir_version = rng.choice((0, 1, 3, 4, 7, 99, 2**62))
    elif kind == 1 and proto.opset_import:
        versions = (-1, 0, 1, 6, 7, 8, 9, 11, 13, 17, 21, 25, 99, 2**62)
        proto.opset_import[0].version = rng.choice(versions)
    elif kind == 2:
        proto.opset_import.add(domain=rng.choice(("", "ai.onnx", "com.microsoft")), version=1)
    else:
        del proto.opset_import[:]


def _what_is_said(proto: Any, rng: random.Random) -> None:
    """Shapes and types of values inside, metadata, texts: right models may lack all of it."""
    kind = rng.randrange(5)
    names = [name for node in proto.graph.node for name in node.output] or ["x"]
    if kind == 0:
        shape = rng.choice(([], ["N"], [7, 7], [2**62, 4], [-1], [0]))
        said = helper.make_tensor_value_info(rng.choice(names), rng.choice(_TYPES), shape)
        proto.graph.value_info.append(said)
    elif kind == 1:
        proto.metadata_props.add(key=rng.choice(_NAMES), value="x" * rng.choice((0, 100_000)))
    elif kind == 2:
        proto.graph.name = rng.choice(_NAMES)
    elif kind == 3:
        proto.graph.quantization_annotation.add(tensor_name=rng.choice(names))
    else:
        proto.training_info.add().algorithm.CopyFrom(proto.graph)


def _a_branch(proto: Any, rng: random.Random) -> None:
    """A node moved into the branches of an If; its condition is constant, or an input."""
    graph = proto.graph
    node = _a(graph.node, rng)
    if node is None or not node.output:
        return
    branches = []
    for _ in range(2):
        out = helper.make_tensor_value_info(node.output[0] + "_in", 1, None)
        inner = onnx.NodeProto.FromString(node.SerializeToString())
        inner.output[0] = out.name
        branches.append(helper.make_graph([inner], rng.choice(("", "b")), [], [out]))
    if rng.random() < 0.3:
        del branches[1].node[:]
    if rng.random() < 0.2:
        branches[0].node[0].input.append("nobody")
    moved = helper.make_node("If", ["cond"], list(node.output))
    moved.attribute.append(helper.make_attribute("then_branch", branches[0]))
    moved.attribute.append(helper.make_attribute("else_branch", branches[1]))
    if not any(tensor.name == "cond" for tensor in graph.initializer):
        graph.initializer.append(numpy_helper.from_array(np.array(rng.random() < 0.5), "cond"))
    node.CopyFrom(moved)


def _a_function(proto: Any, rng: random.Random) -> None:
    """A node called through a function of the model."""
    node = _a(proto.graph.node, rng)
    if node is None:
        return
    inner = onnx.NodeProto.FromString(node.SerializeToString())
    name = rng.choice(("F", "F", node.op_type, ""))
    domain = rng.choice(("local", "local", "", "nobody"))
    inputs = [f"i{k}" for k in range(len(inner.input))]
    inner.input[:] = inputs
    if rng.random() < 0.2:
        inner.op_type, inner.domain = name, domain  # calls itself
    imports = [*proto.opset_import, *rng.choice(([], [helper.make_opsetid(domain, 1)]))]
    body = helper.make_function(domain, name, inputs, list(inner.output), [inner], imports)
    proto.functions.append(body)
    if all(entry.domain != domain for entry in proto.opset_import):
        proto.opset_import.append(helper.make_opsetid(domain, 1))
    del node.attribute[:]
    node.op_type, node.domain = name, domain


def _a_constant(proto: Any, rng: random.Random) -> None:
    """A tensor in a Constant node, in each of the ways that it can have."""
    tensor = _a(proto.graph.initializer, rng)
    if tensor is None:
        return
    ways: tuple[dict[str, Any], ...] = (
        {"value": tensor},
        {"value": tensor},
        {"value_float": 1.0},
        {"value_ints": [1, 2]},
        {"value_string": "a"},
        {},
    )
    node = helper.make_node("Constant", [], [tensor.name], **rng.choice(ways))
    proto.graph.node.insert(0, node)
    proto.graph.initializer.remove(tensor)


def _a(choices: Sequence[Any], rng: random.Random) -> Any:
    return rng.choice(choices) if len(choices) else None


def _nodes(graph: Any) -> list[Any]:
    inner = [a.g for node in graph.node for a in node.attribute if a.HasField("g")]
    return [*graph.node, *(node for body in inner for node in body.node)]


CHANGES: tuple[Change, ...] = (
    *(_frame_of_tensor, _frame_of_tensor, _values_of_tensor, _values_of_tensor, _external),
    *(_names_of_tensors, _an_attribute, _an_attribute, _a_new_attribute, _an_edge, _an_edge),
    *(_a_circle, _an_operator, _a_node, _an_interface, _an_interface, _a_new_interface),
    *(_a_version, _what_is_said, _a_branch, _a_function, _a_constant),
)
