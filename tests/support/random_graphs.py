"""Random networks of the operators that channels move through, drawn from a seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir

Array = np.ndarray[Any, np.dtype[Any]]


class Builder:
    """Appends nodes to a graph; constants become initializers."""

    def __init__(self, seed: int, opset: int = 18) -> None:
        self.rng = np.random.default_rng(seed)
        self.graph = ir.Graph([], [], nodes=[], opset_imports={"": opset}, name="random")
        self.count = 0

    def input(self, shape: list[Any], name: str = "x", dtype: Any = ir.DataType.FLOAT) -> ir.Value:
        value = ir.val(name, dtype, shape)
        self.graph.inputs.append(value)
        return value

    def constant(self, array: Any, dtype: Any = np.float32) -> ir.Value:
        self.count += 1
        name = f"c{self.count}"
        tensor = ir.tensor(np.asarray(array, dtype), name=name)
        value = ir.Value(
            name=name,
            type=ir.TensorType(tensor.dtype),
            shape=ir.Shape(np.shape(array)),
            const_value=tensor,
        )
        self.graph.register_initializer(value)
        return value

    def weight(self, *shape: int) -> ir.Value:
        fan = max(1, int(np.prod(shape[1:])))
        return self.constant(self.rng.normal(size=shape) / np.sqrt(fan))

    def positive(self, *shape: int) -> ir.Value:
        return self.constant(self.rng.uniform(0.5, 1.5, size=shape))

    def op(self, kind: str, *inputs: ir.Value | None, outputs: int = 1, **attributes: Any) -> Any:
        self.count += 1
        node = ir.node(
            kind, list(inputs), attributes, num_outputs=outputs, name=f"{kind}_{self.count}"
        )
        for index, value in enumerate(node.outputs):
            value.name = f"v{self.count}_{index}"
        self.graph.append(node)
        return node.outputs[0] if outputs == 1 else node.outputs

    def ints(self, *numbers: int) -> ir.Value:
        return self.constant(numbers, np.int64)

    def model(self, *outputs: ir.Value) -> ir.Model:
        for index, value in enumerate(outputs):
            value.name = f"y{index}"
            value.type = ir.TensorType(ir.DataType.FLOAT)
            self.graph.outputs.append(value)
        return ir.Model(self.graph, ir_version=9)


def image_network(seed: int, length: int) -> ir.Model:
    """Convolutions and what stands between them, on ``[N, C, H, W]``."""
    build = Builder(seed)
    rng = build.rng
    x = build.input(["N", 3, 8, 8])
    pool: list[tuple[ir.Value, int, int]] = [(conv(build, x, 3, 8), 8, 8)]
    steps: list[Callable[..., Any]] = [
        plain, plain, depthwise, grouped, transposed, normalized, residual, concatenated,
        split_up, sliced, picked, padded, pooled, resized, gated, centred, roundtrip, parametric,
        shuffled, unshuffled, whole_groups,
    ]  # fmt: skip
    for _ in range(length):
        step = steps[rng.integers(len(steps))]
        value, channels, size = pool[rng.integers(max(0, len(pool) - 3), len(pool))]
        made = step(build, pool, value, channels, size)
        if made is not None:
            pool.append(made)
    value, channels, size = pool[-1]
    if rng.random() < 0.5:
        flat = build.op("Reshape", value, build.ints(0, channels * size * size))
        width = channels * size * size
    else:
        moved = build.op("Transpose", value, perm=[0, 2, 3, 1])
        flat = build.op("ReduceMean", moved, build.ints(1, 2), keepdims=0)
        width = channels
    hidden = build.op("Relu", build.op("Gemm", flat, build.weight(width, 6), build.weight(6)))
    dense = build.op("MatMul", hidden, build.weight(6, 4))
    return build.model(build.op("Add", dense, build.weight(4)))


def conv(build: Builder, value: ir.Value, inputs: int, outputs: int, **attributes: Any) -> Any:
    group = attributes.get("group", 1)
    weight = build.weight(outputs, inputs // group, 3, 3)
    return build.op("Conv", value, weight, build.weight(outputs), pads=[1, 1, 1, 1], **attributes)


def plain(build: Builder, pool: Any, value: ir.Value, channels: int, size: int) -> Any:
    outputs = int(build.rng.choice([4, 6, 8]))
    return build.op("Relu", conv(build, value, channels, outputs)), outputs, size


def depthwise(build: Builder, pool: Any, value: ir.Value, channels: int, size: int) -> Any:
    times = int(build.rng.choice([1, 2]))
    if channels * times > 24:
        return None
    made = conv(build, value, channels, channels * times, group=channels)
    return build.op("Sigmoid", made), channels * times, size


def grouped(build: Builder, pool: Any, value: ir.Value, channels: int, size: int) -> Any:
    if channels % 2:
        return None
    return conv(build, value, channels, 8, group=2), 8, size


def whole_groups(build: Builder, pool: Any, value: ir.Value, channels: int, size: int) -> Any:
    if channels % 4 or channels < 8:
        return None
    return conv(build, value, channels, 2 * channels // 4 * 2, group=channels // 2), channels, size


def transposed(build: Builder, pool: Any, value: ir.Value, channels: int, size: int) -> Any:
    group = int(build.rng.choice([1, channels]))
    if size > 8 or channels > 12:
        return None
    weight = build.weight(channels, 6 if group == 1 else 1, 2, 2)
    outputs = 6 if group == 1 else channels
    bias = build.weight(outputs)
    made = build.op("ConvTranspose", value, weight, bias, strides=[2, 2], group=group)
    return made, outputs, 2 * size


def normalized(build: Builder, pool: Any, value: ir.Value, channels: int, size: int) -> Any:
    if build.rng.random() < 0.3:
        return (
            build.op(
                "InstanceNormalization", value, build.positive(channels), build.weight(channels)
            ),
            channels,
            size,
        )
    numbers = [build.positive(channels) for _ in range(4)]
    return build.op("BatchNormalization", value, *numbers), channels, size


def residual(build: Builder, pool: Any, value: ir.Value, channels: int, size: int) -> Any:
    same = [other for other, c, s in pool if (c, s) == (channels, size) and other is not value]
    if not same:
        return build.op("Add", value, conv(build, value, channels, channels)), channels, size
    kind = str(build.rng.choice(["Add", "Mul", "Sub", "Max"]))
    return build.op(kind, value, same[build.rng.integers(len(same))]), channels, size


def concatenated(build: Builder, pool: Any, value: ir.Value, channels: int, size: int) -> Any:
    fitting = [(other, c) for other, c, s in pool if s == size and c + channels <= 24]
    if not fitting:
        return None
    other, more = fitting[build.rng.integers(len(fitting))]
    return build.op("Concat", value, other, axis=1), channels + more, size


def split_up(build: Builder, pool: Any, value: ir.Value, channels: int, size: int) -> Any:
    first = int(build.rng.integers(1, channels)) if channels > 1 else 1
    if channels < 2:
        return None
    sizes = build.ints(first, channels - first)
    parts = build.op("Split", value, sizes, outputs=2, axis=1)
    pool.append((parts[0], first, size))
    return parts[1], channels - first, size


def sliced(build: Builder, pool: Any, value: ir.Value, channels: int, size: int) -> Any:
    if channels < 4:
        return None
    start = int(build.rng.integers(0, channels - 2))
    end = int(build.rng.choice([channels, 1 << 40, -1]))
    made = build.op("Slice", value, build.ints(start), build.ints(end), build.ints(1))
    return made, (channels - 1 if end == -1 else channels) - start, size


def picked(build: Builder, pool: Any, value: ir.Value, channels: int, size: int) -> Any:
    places = build.rng.integers(-channels, channels, size=5)
    return build.op("Gather", value, build.ints(*map(int, places)), axis=1), 5, size


def padded(build: Builder, pool: Any, value: ir.Value, channels: int, size: int) -> Any:
    more = int(build.rng.integers(0, 3))
    pads = build.ints(0, more, 0, 0, 0, 0, 0, 0)
    return build.op("Pad", value, pads), channels + more, size


def pooled(build: Builder, pool: Any, value: ir.Value, channels: int, size: int) -> Any:
    if size < 4:
        return None
    kind = str(build.rng.choice(["MaxPool", "AveragePool"]))
    made = build.op(kind, value, kernel_shape=[2, 2], strides=[2, 2])
    return made, channels, size // 2


def resized(build: Builder, pool: Any, value: ir.Value, channels: int, size: int) -> Any:
    if size > 8:
        return None
    batch = build.op("Shape", value, start=0, end=1)
    sizes = build.op("Concat", batch, build.ints(channels, 2 * size, 2 * size), axis=0)
    if build.rng.random() < 0.5:  # sizes known at run time only: everything has to stay
        return build.op("Resize", value, None, None, sizes, mode="nearest"), channels, 2 * size
    scales = build.constant([1.0, 1.0, 2.0, 2.0])
    return build.op("Resize", value, None, scales, mode="nearest"), channels, 2 * size


def gated(build: Builder, pool: Any, value: ir.Value, channels: int, size: int) -> Any:
    """Squeeze and excite."""
    mean = build.op("ReduceMean", value, build.ints(2, 3), keepdims=0)
    squeezed = build.op("Relu", build.op("MatMul", mean, build.weight(channels, 4)))
    gate = build.op("Sigmoid", build.op("MatMul", squeezed, build.weight(4, channels)))
    gate = build.op("Reshape", gate, build.ints(-1, channels, 1, 1))
    return build.op("Mul", value, gate), channels, size


def centred(build: Builder, pool: Any, value: ir.Value, channels: int, size: int) -> Any:
    """LayerNormalization in pieces: means over the channels."""
    mean = build.op("ReduceMean", value, build.ints(1))
    apart = build.op("Sub", value, mean)
    spread = build.op("ReduceMean", build.op("Mul", apart, apart), build.ints(1))
    deviation = build.op("Sqrt", build.op("Add", spread, build.constant(1e-3)))
    scaled = build.op("Mul", build.op("Div", apart, deviation), build.positive(channels, 1, 1))
    return build.op("Add", scaled, build.weight(1, channels, 1, 1)), channels, size


def roundtrip(build: Builder, pool: Any, value: ir.Value, channels: int, size: int) -> Any:
    moved = build.op("Transpose", value, perm=[0, 2, 3, 1])
    rows = build.op("Reshape", moved, build.ints(0, size * size, channels))
    rows = build.op("Add", build.op("MatMul", rows, build.weight(channels, 8)), build.weight(8))
    image = build.op("Reshape", rows, build.ints(-1, size, size, 8))
    return build.op("Transpose", image, perm=[0, 3, 1, 2]), 8, size


def parametric(build: Builder, pool: Any, value: ir.Value, channels: int, size: int) -> Any:
    return build.op("PRelu", value, build.positive(channels, 1, 1)), channels, size


def shuffled(build: Builder, pool: Any, value: ir.Value, channels: int, size: int) -> Any:
    if channels % 4 or size > 8:
        return None
    mode = str(build.rng.choice(["DCR", "CRD"]))
    made = build.op("DepthToSpace", value, blocksize=2, mode=mode)
    return made, channels // 4, 2 * size


def unshuffled(build: Builder, pool: Any, value: ir.Value, channels: int, size: int) -> Any:
    if size % 2 or channels > 6:
        return None
    return build.op("SpaceToDepth", value, blocksize=2), 4 * channels, size // 2


def sequence_network(seed: int, length: int) -> ir.Model:
    """Embedding, recurrent layers, attention and dense layers on ``[N, T, C]``."""
    build = Builder(seed)
    rng = build.rng
    tokens = build.input(["N", 5], "x", ir.DataType.INT64)
    value, width = build.op("Gather", build.weight(9, 8), tokens, axis=0), 8
    steps: list[Callable[..., Any]] = [
        dense, attention, lstm, gru, both_ways, widened, fused_norm
    ]  # fmt: skip
    for _ in range(length):
        value, width = steps[rng.integers(len(steps))](build, value, width)
    last = build.op("ReduceSum", value, build.ints(1), keepdims=0)
    return build.model(build.op("MatMul", last, build.weight(width, 4)))


def dense(build: Builder, value: ir.Value, width: int) -> Any:
    inner = build.op("MatMul", value, build.weight(width, 6))
    inner = build.op("Tanh", build.op("Add", inner, build.weight(6)))
    return build.op("Add", value, build.op("MatMul", inner, build.weight(6, width))), width


def widened(build: Builder, value: ir.Value, width: int) -> Any:
    more = build.op("MatMul", value, build.weight(width, 4))
    return build.op("Concat", value, build.op("Tanh", more), axis=-1), width + 4


def fused_norm(build: Builder, value: ir.Value, width: int) -> Any:
    scale, bias = build.positive(width), build.weight(width)
    return build.op("LayerNormalization", value, scale, bias, axis=-1), width


def attention(build: Builder, value: ir.Value, width: int) -> Any:
    heads, depth = 3, 2
    parts = []
    for perm in ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]):
        projected = build.op("MatMul", value, build.weight(width, heads * depth))
        split = build.op("Reshape", projected, build.ints(0, 5, heads, depth))
        split = build.op("Add", split, build.weight(heads, depth))
        parts.append(build.op("Transpose", split, perm=perm))
    scores = build.op("Softmax", build.op("MatMul", parts[0], parts[1]), axis=-1)
    mixed = build.op("Transpose", build.op("MatMul", scores, parts[2]), perm=[0, 2, 1, 3])
    joined = build.op("Reshape", mixed, build.ints(0, 5, heads * depth))
    out = build.op("MatMul", joined, build.weight(heads * depth, width))
    return build.op("Add", value, out), width


def _recurrent(build: Builder, kind: str, value: ir.Value, width: int, directions: int) -> Any:
    units, gates = 4, {"LSTM": 4, "GRU": 3}[kind]
    time_first = build.op("Transpose", value, perm=[1, 0, 2])
    made = build.op(
        kind,
        time_first,
        build.weight(directions, gates * units, width),
        build.weight(directions, gates * units, units),
        build.weight(directions, 2 * gates * units),
        hidden_size=units,
        direction="forward" if directions == 1 else "bidirectional",
    )
    if directions == 1:
        rows = build.op("Squeeze", made, build.ints(1))
        return build.op("Transpose", rows, perm=[1, 0, 2]), units
    rows = build.op("Transpose", made, perm=[2, 0, 1, 3])
    return build.op("Reshape", rows, build.ints(0, 5, 2 * units)), 2 * units


def lstm(build: Builder, value: ir.Value, width: int) -> Any:
    return _recurrent(build, "LSTM", value, width, 1)


def gru(build: Builder, value: ir.Value, width: int) -> Any:
    return _recurrent(build, "GRU", value, width, 1)


def both_ways(build: Builder, value: ir.Value, width: int) -> Any:
    return _recurrent(build, "LSTM", value, width, 2)
