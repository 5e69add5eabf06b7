"""Ways to damage a file: its bytes, and what they mean. Every way takes bytes and gives bytes."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import onnx

Damage = Callable[[bytes, random.Random], bytes]
_NUMBERS = (-(2**63), -(2**31), -2, -1, 0, 1, 2, 3, 7, 64, 2**20, 2**31, 2**40, 2**62, 2**63 - 1)


def flip_bits(raw: bytes, rng: random.Random) -> bytes:
    """Change a few bits."""
    damaged = bytearray(raw)
    for _ in range(rng.choice((1, 1, 2, 8, 64)) if raw else 0):
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def cut_off(raw: bytes, rng: random.Random) -> bytes:
    """Lose the end."""
    return raw[: rng.randrange(len(raw) + 1)]


def overwrite(raw: bytes, rng: random.Random) -> bytes:
    """Replace, remove or repeat a stretch of bytes."""
    start = rng.randrange(len(raw) + 1)
    stop = min(len(raw), start + rng.choice((1, 4, 32, 512)))
    piece = rng.choice((b"", bytes(stop - start), rng.randbytes(stop - start), raw[start:stop] * 2))
    return raw[:start] + piece + raw[stop:]


def _model(change: Callable[[Any, random.Random], None]) -> Damage:
    def damage(raw: bytes, rng: random.Random) -> bytes:
        proto = onnx.ModelProto.FromString(raw)
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            change(proto, rng)
        return bytes(proto.SerializeToString())

    return damage


def _a_tensor(proto: Any, rng: random.Random) -> None:
    tensor = rng.choice(proto.graph.initializer)
    kind = rng.randrange(5)
    if kind == 0 and tensor.dims:
        tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(_NUMBERS)
    elif kind == 1:
        tensor.data_type = rng.randrange(30)
    elif kind == 2:
        sizes = list(tensor.dims)
        rng.shuffle(sizes)  # as many values, in another shape
        del tensor.dims[:]
        tensor.dims.extend(rng.choice((sizes, [1, *sizes], [-1], [])))
    elif kind == 3:
        tensor.raw_data = overwrite(tensor.raw_data, rng)
    else:
        tensor.data_location = 1
        for key in ("location", "offset", "length"):
            value = rng.choice(("", "../x", "/etc/passwd", "m.onnx", "-1", "4", str(2**62), "a\0"))
            tensor.external_data.add(key=key, value=value)


def _an_attribute(proto: Any, rng: random.Random) -> None:
    node = rng.choice([n for n in proto.graph.node if n.attribute] or [None])
    if node is None:
        return
    attribute = rng.choice(node.attribute)
    kind = rng.randrange(4)
    if kind == 0 and attribute.ints:
        attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice(_NUMBERS)
    elif kind == 1 and attribute.type == onnx.AttributeProto.INT:
        attribute.i = rng.choice(_NUMBERS)
    elif kind == 2 and attribute.ints:
        attribute.ints.extend([rng.choice(_NUMBERS)] * rng.randrange(1, 4))
    elif kind == 3:
        attribute.f = rng.choice((float("nan"), float("inf"), -1.0, 1e38))
        attribute.type = rng.randrange(15)
    else:
        node.attribute.remove(attribute)


def _an_edge(proto: Any, rng: random.Random) -> None:
    graph = proto.graph
    names = [n for node in graph.node for n in (*node.input, *node.output)]
    names += [value.name for value in (*graph.input, *graph.output)] + ["", "nobody"]
    node = rng.choice(graph.node)
    held = rng.choice((node.input, node.output))
    if held and rng.random() < 0.7:
        held[rng.randrange(len(held))] = rng.choice(names)
    elif held and rng.random() < 0.5:
        del held[rng.randrange(len(held)) :]
    else:
        held.append(rng.choice(names))


def _an_operator(proto: Any, rng: random.Random) -> None:
    node = rng.choice(proto.graph.node)
    others = [other.op_type for other in proto.graph.node]
    node.op_type = rng.choice((*others, "Loop", "ConstantOfShape", "Reshape", "Tile", "Nobody", ""))
    node.domain = rng.choice(("", "", "", "com.microsoft", "ai.onnx.ml", "nobody"))


def _a_node(proto: Any, rng: random.Random) -> None:
    nodes = proto.graph.node
    place = rng.randrange(len(nodes))
    if rng.random() < 0.5:
        del nodes[place]
    else:
        nodes.add().CopyFrom(nodes[place])


def _an_interface(proto: Any, rng: random.Random) -> None:
    value = rng.choice((*proto.graph.input, *proto.graph.output))
    dims = value.type.tensor_type.shape.dim
    kind = rng.randrange(4)
    if kind == 0 and dims:
        dims[rng.randrange(len(dims))].dim_value = rng.choice(_NUMBERS)
    elif kind == 1:
        value.type.tensor_type.elem_type = rng.randrange(30)
    elif kind == 2:
        value.name = rng.choice(("", "x", "y", "nobody", "a" * 5000, "a/b\n"))
    elif dims:
        del dims[rng.randrange(len(dims))]


def _a_version(proto: Any, rng: random.Random) -> None:
    kind = rng.randrange(3)
    if kind == 0:
        proto.ir_version = rng.choice((0, 1, 3, 7, 99, 2**62))
    elif kind == 1 and proto.opset_import:
        proto.opset_import[0].version = rng.choice((0, 1, 6, 7, 11, 13, 25, 99, 2**62))
    else:
        del proto.opset_import[:]


def _report(raw: bytes, rng: random.Random) -> bytes:
    """Replace a value in a JSON document, at any depth."""
    document = json.loads(raw)
    holder: Any = document
    while True:
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        if not keys:
            return json.dumps([]).encode()
        key = rng.choice(keys)
        if not isinstance(holder[key], dict | list) or rng.random() < 0.2:
            break
        holder = holder[key]
    values = (None, True, -1, 10**400, "", "x", [], {}, [[]], {"a": []}, "NaN")
    holder[key] = rng.choice(values)
    return json.dumps(document).encode()


def _nested(raw: bytes, rng: random.Random) -> bytes:
    del raw
    return rng.choice((b"[", b'{"a":')) * rng.choice((10, 100_000))


_BYTES = [flip_bits, cut_off, overwrite]
DAMAGE: dict[str, list[Damage]] = {
    "": _BYTES,
    ".json": [*_BYTES, _report, _report, _report, _nested],
    ".onnx": [
        *_BYTES,
        *map(
            _model,
            (
                _a_tensor,
                _a_tensor,
                _an_attribute,
                _an_attribute,
                _an_edge,
                _an_edge,
                _an_operator,
                _a_node,
                _an_interface,
                _a_version,
            ),
        ),
    ],
}
