"""Models of one kernel each, to be timed, and what they read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from runtimes.base import Array
from runtimes.costs.kernels import Kernel, copied

_MATRIX, _VECTOR = 192, 65_536
_NUMPY = {"float": "float32", "double": "float64"}


@dataclass(frozen=True)
class Bench:
    """A model with ``copies`` of one kernel, and what they read."""

    model: ir.Model
    feed: Mapping[str, Array]
    copies: int = 1


def bench_of(kernel: Kernel, copies: int = 1) -> Bench:
    """A bench of ``kernel``, with the weights of the node that it was found in."""
    assert kernel.node is not None
    rng = np.random.default_rng(0)
    inputs: list[ir.Value | None] = []
    feed: dict[str, Array] = {}
    for place, (value, read) in enumerate(zip(kernel.node.inputs, kernel.inputs, strict=True)):
        if read is None or value is None:
            inputs.append(None)
        elif value.const_value is not None:
            inputs.append(_constant(f"c{place}", value.const_value))
        else:
            array = _made_up(read.dtype, read.shape, rng)
            inputs.append(_given(f"x{place}", array))
            feed[f"x{place}"] = array
    nodes = [_copy(kernel.node, inputs, number) for number in range(copies)]
    return replace(_bench(nodes, feed, kernel.opsets), copies=copies)


def _copy(node: ir.Node, inputs: Sequence[ir.Value | None], number: int) -> ir.Node:
    copy = copied(node, inputs, f"kernel{number}")
    for place, output in enumerate(copy.outputs):
        output.name = f"y{number}_{place}" if node.outputs[place].name else ""
    return copy


def nothing(count: int) -> Bench:
    """The node that does nothing alone, with the inputs of benches that read ``count`` arrays."""
    feed = {f"x{place}": np.zeros(1, np.float32) for place in range(count - 1)}
    return _bench([], feed, {"": 18})


def yardsticks() -> dict[str, Bench]:
    """What tells how fast the machine is at the moment: a product of matrices, a sum of vectors."""
    rng = np.random.default_rng(0)
    square = rng.standard_normal((_MATRIX, _MATRIX)).astype(np.float32)
    vector = rng.standard_normal(_VECTOR).astype(np.float32)
    right = _constant("c", ir.tensor(square))
    product = ir.Node("", "MatMul", [_given("x0", square), right], name="kernel")
    both = [_given("x0", vector), _given("x1", vector)]
    total = ir.Node("", "Add", both, name="kernel")
    for node in (product, total):
        node.outputs[0].name = "y0"
    opsets = {"": 18}
    return {
        "matmul": _bench([product], {"x0": square}, opsets),
        "add": _bench([total], {"x0": vector, "x1": vector.copy()}, opsets),
    }


def _bench(nodes: Sequence[ir.Node], feed: Mapping[str, Array], opsets: Mapping[str, int]) -> Bench:
    """The nodes beside one that does nothing, whose output is the model's: no result is copied."""
    read = list(dict.fromkeys(v for node in nodes for v in node.inputs if v is not None))
    given = [value for value in read if value.const_value is None]
    if not nodes:
        given = [_given(name, array) for name, array in feed.items()]
    one = np.ones(1, np.float32)
    start = _given("one", one)
    last = ir.Node("", "Neg", [start], name="nothing")
    done = last.outputs[0]
    done.name, done.type, done.shape = "done", start.type, start.shape
    graph = ir.Graph(
        [*given, start],
        [done],
        nodes=[*nodes, last],
        initializers=[value for value in read if value.const_value is not None],
        opset_imports=dict(opsets),
        name="bench",
    )
    return Bench(ir.Model(graph, ir_version=10), {**feed, "one": one})


def _given(name: str, array: Array) -> ir.Value:
    dtype = ir.TensorType(ir.DataType.from_numpy(array.dtype))
    return ir.Value(name=name, type=dtype, shape=ir.Shape(array.shape))


def _constant(name: str, tensor: ir.TensorProtocol) -> ir.Value:
    value = ir.Value(name=name, const_value=tensor)
    value.type, value.shape = ir.TensorType(tensor.dtype), ir.Shape(tensor.shape.numpy())
    return value


def _made_up(dtype: str, shape: Sequence[int], rng: np.random.Generator) -> Array:
    kind = np.dtype(_NUMPY.get(dtype, dtype))
    if kind.kind == "f":
        return np.asarray(rng.standard_normal(shape)).astype(kind)
    if kind.itemsize == 1 and kind.kind in "iu":
        return np.asarray(rng.integers(0, 100, shape)).astype(kind)
    return np.zeros(shape, kind)
