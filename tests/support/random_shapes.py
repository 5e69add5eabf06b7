"""Random networks in which axes are reshaped, moved, split and merged, drawn from a seed.

Every step takes any tensor ``[N, …]`` whose other axes are known, so channels land on axes of
every kind: of places, of steps, behind the batch, in blocks of pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
from random_graphs import Builder

Shape = tuple[int, ...]
Made = tuple[ir.Value, Shape] | None
Step = Callable[[Builder, ir.Value, Shape], Made]
MOST = 384
"""Elements of a sample in any value."""


def shape_network(seed: int, length: int) -> ir.Model:
    """``length`` steps on ``x [N, 6, 4, 4]`` or what a dense layer makes of ``x [N, 10]``."""
    build = Builder(seed)
    if build.rng.random() < 0.5:
        value, shape = build.input(["N", 6, 4, 4]), (6, 4, 4)
    else:
        x = build.input(["N", 10])
        value, shape = build.op("MatMul", x, build.weight(10, 48)), (48,)
    for _ in range(length):
        step = STEPS[build.rng.integers(len(STEPS))]
        made = step(build, value, shape)
        if made is not None and math.prod(made[1]) <= MOST:
            value, shape = made
    if build.rng.random() < 0.3:
        return build.model(build.op("Identity", value))
    flat = build.op("Reshape", value, build.ints(-1, math.prod(shape)))
    return build.model(build.op("MatMul", flat, build.weight(math.prod(shape), 3)))


def feed_of(model: ir.Model, seed: int) -> dict[str, Any]:
    """Two samples of the model's input."""
    shape = model.graph.inputs[0].shape
    assert shape is not None
    sizes = [dim if isinstance(dim, int) else 2 for dim in shape]
    return {"x": np.random.default_rng(seed).normal(size=sizes).astype(np.float32)}


def reshaped(build: Builder, value: ir.Value, shape: Shape) -> Made:
    """Into any factors of the number of elements."""
    left, sizes = math.prod(shape), []
    while len(sizes) < 4 and left > 1 and build.rng.random() < 0.85:
        factors = [n for n in range(2, left + 1) if left % n == 0]
        sizes.append(int(build.rng.choice(factors)))
        left //= sizes[-1]
    if left > 1 or not sizes:
        sizes.append(left)
    sizes = [int(size) for size in build.rng.permutation(sizes)]
    first = int(build.rng.choice([0, -1]))
    return build.op("Reshape", value, build.ints(first, *sizes)), tuple(sizes)


def merged(build: Builder, value: ir.Value, shape: Shape) -> Made:
    """Two neighbouring axes become one."""
    if len(shape) < 2:
        return None
    at = int(build.rng.integers(len(shape) - 1))
    sizes = (*shape[:at], shape[at] * shape[at + 1], *shape[at + 2 :])
    return build.op("Reshape", value, build.ints(0, *sizes)), sizes


def split(build: Builder, value: ir.Value, shape: Shape) -> Made:
    """One axis becomes two or three."""
    at = int(build.rng.integers(len(shape)))
    factors = [n for n in range(2, shape[at]) if shape[at] % n == 0]
    if not factors or len(shape) > 3:
        return None
    factor = int(build.rng.choice(factors))
    sizes = (*shape[:at], factor, shape[at] // factor, *shape[at + 1 :])
    return build.op("Reshape", value, build.ints(-1, *sizes)), sizes


def moved(build: Builder, value: ir.Value, shape: Shape) -> Made:
    order = build.rng.permutation(len(shape))
    perm = [0, *(int(axis) + 1 for axis in order)]
    return build.op("Transpose", value, perm=perm), tuple(shape[axis] for axis in order)


def past_the_batch(build: Builder, value: ir.Value, shape: Shape) -> Made:
    """The samples go last, something is done, and they come back."""
    rank = len(shape) + 1
    there = build.op("Transpose", value, perm=[*range(1, rank), 0])
    kind = str(build.rng.choice(["Relu", "Softmax", "Tanh"]))
    done = build.op(kind, there, **({"axis": 0} if kind == "Softmax" else {}))
    return build.op("Transpose", done, perm=[rank - 1, *range(rank - 1)]), shape


def flattened(build: Builder, value: ir.Value, shape: Shape) -> Made:
    return build.op("Flatten", value, axis=1), (math.prod(shape),)


def squeezed(build: Builder, value: ir.Value, shape: Shape) -> Made:
    if len(shape) > 3:
        return None
    at = int(build.rng.integers(len(shape) + 1))
    wider = build.op("Unsqueeze", value, build.ints(at + 1))
    return wider, (*shape[:at], 1, *shape[at:])


def dense(build: Builder, value: ir.Value, shape: Shape) -> Made:
    """On the last axis, whatever that is: on a map of channels first it is a place."""
    units = int(build.rng.choice([4, 6, 8, 12]))
    made = build.op("MatMul", value, build.weight(shape[-1], units))
    return build.op("Relu", build.op("Add", made, build.weight(units))), (*shape[:-1], units)


def convolved(build: Builder, value: ir.Value, shape: Shape) -> Made:
    if len(shape) not in (2, 3):
        return None
    outputs, places = int(build.rng.choice([4, 8])), len(shape) - 1
    weight = build.weight(outputs, shape[0], *[3] * places)
    made = build.op("Conv", value, weight, build.weight(outputs), pads=[1] * 2 * places)
    return build.op("Relu", made), (outputs, *shape[1:])


def depthwise(build: Builder, value: ir.Value, shape: Shape) -> Made:
    if len(shape) != 3:
        return None
    weight = build.weight(shape[0], 1, 3, 3)
    return build.op("Conv", value, weight, pads=[1, 1, 1, 1], group=shape[0]), shape


def deconvolved(build: Builder, value: ir.Value, shape: Shape) -> Made:
    if len(shape) != 3:
        return None
    made = build.op("ConvTranspose", value, build.weight(shape[0], 4, 2, 2), strides=[2, 2])
    return made, (4, 2 * shape[1], 2 * shape[2])


def depth_to_space(build: Builder, value: ir.Value, shape: Shape) -> Made:
    if len(shape) != 3 or shape[0] % 4:
        return None
    mode = str(build.rng.choice(["DCR", "CRD"]))
    made = build.op("DepthToSpace", value, blocksize=2, mode=mode)
    return made, (shape[0] // 4, 2 * shape[1], 2 * shape[2])


def space_to_depth(build: Builder, value: ir.Value, shape: Shape) -> Made:
    if len(shape) != 3 or shape[1] % 2 or shape[2] % 2:
        return None
    made = build.op("SpaceToDepth", value, blocksize=2)
    return made, (4 * shape[0], shape[1] // 2, shape[2] // 2)


def pooled(build: Builder, value: ir.Value, shape: Shape) -> Made:
    if len(shape) != 3 or min(shape[1:]) < 2:
        return None
    kind = str(build.rng.choice(["MaxPool", "AveragePool"]))
    made = build.op(kind, value, kernel_shape=[2, 2])
    return made, (shape[0], shape[1] - 1, shape[2] - 1)


def normalized(build: Builder, value: ir.Value, shape: Shape) -> Made:
    kind = str(build.rng.choice(["BatchNormalization", "InstanceNormalization"]))
    if kind == "InstanceNormalization" and (len(shape) < 2 or math.prod(shape[1:]) < 2):
        return None
    count = 4 if kind == "BatchNormalization" else 2
    return build.op(kind, value, *[build.positive(shape[0]) for _ in range(count)]), shape


def layer_normalized(build: Builder, value: ir.Value, shape: Shape) -> Made:
    if shape[-1] < 2:
        return None
    scale, bias = build.positive(shape[-1]), build.weight(shape[-1])
    return build.op("LayerNormalization", value, scale, bias, axis=-1), shape


def recurrent(build: Builder, value: ir.Value, shape: Shape) -> Made:
    """Along the first axis behind the batch, whatever lies there."""
    if len(shape) != 2:
        return None
    steps = build.op("Transpose", value, perm=[1, 0, 2])
    made = build.op(
        "GRU", steps, build.weight(1, 12, shape[1]), build.weight(1, 12, 4), hidden_size=4
    )
    rows = build.op("Squeeze", made, build.ints(1))
    return build.op("Transpose", rows, perm=[1, 0, 2]), (shape[0], 4)


def averaged(build: Builder, value: ir.Value, shape: Shape) -> Made:
    """Over any axes, which stay as ones."""
    axes = [axis for axis in range(len(shape)) if build.rng.random() < 0.4]
    if not axes:
        return None
    kind = str(build.rng.choice(["ReduceMean", "ReduceSum", "ReduceMax"]))
    mean = build.op(kind, value, build.ints(*(axis + 1 for axis in axes)))
    if build.rng.random() < 0.5:
        return build.op("Sub", value, mean), shape
    return mean, tuple(1 if axis in axes else size for axis, size in enumerate(shape))


def shifted(build: Builder, value: ir.Value, shape: Shape) -> Made:
    """By a constant that broadcasts along some axes."""
    sizes = [size if build.rng.random() < 0.6 else 1 for size in shape]
    kind = str(build.rng.choice(["Add", "Mul"]))
    return build.op(kind, value, build.weight(*sizes)), shape


def softened(build: Builder, value: ir.Value, shape: Shape) -> Made:
    return build.op("Softmax", value, axis=int(build.rng.integers(1, len(shape) + 1))), shape


def joined(build: Builder, value: ir.Value, shape: Shape) -> Made:
    """With another view of itself, along any axis."""
    at = int(build.rng.integers(len(shape)))
    other = build.op("Tanh", value)
    sizes = (*shape[:at], 2 * shape[at], *shape[at + 1 :])
    return build.op("Concat", value, other, axis=at + 1), sizes


def cut_out(build: Builder, value: ir.Value, shape: Shape) -> Made:
    at = int(build.rng.integers(len(shape)))
    if shape[at] < 3:
        return None
    start = int(build.rng.integers(0, shape[at] - 1))
    step = int(build.rng.choice([1, 1, 2]))
    size = len(range(start, shape[at], step))
    bounds = [build.ints(start), build.ints(1 << 40), build.ints(at + 1), build.ints(step)]
    return build.op("Slice", value, *bounds), (*shape[:at], size, *shape[at + 1 :])


def picked(build: Builder, value: ir.Value, shape: Shape) -> Made:
    at = int(build.rng.integers(len(shape)))
    places = build.rng.integers(0, shape[at], size=4)
    made = build.op("Gather", value, build.ints(*map(int, places)), axis=at + 1)
    return made, (*shape[:at], 4, *shape[at + 1 :])


def parted(build: Builder, value: ir.Value, shape: Shape) -> Made:
    """The two halves along an axis, one times the other."""
    at = int(build.rng.integers(len(shape)))
    if shape[at] % 2:
        return None
    halves = build.op("Split", value, outputs=2, axis=at + 1, num_outputs=2)
    product = build.op("Mul", halves[0], build.op("Sigmoid", halves[1]))
    return product, (*shape[:at], shape[at] // 2, *shape[at + 1 :])


def padded(build: Builder, value: ir.Value, shape: Shape) -> Made:
    before = [int(build.rng.integers(2)) for _ in shape]
    made = build.op("Pad", value, build.ints(0, *before, 0, *[0 for _ in shape]))
    return made, tuple(size + more for size, more in zip(shape, before, strict=True))


def repeated(build: Builder, value: ir.Value, shape: Shape) -> Made:
    at = int(build.rng.integers(len(shape)))
    repeats = [2 if axis == at else 1 for axis in range(len(shape))]
    made = build.op("Tile", value, build.ints(1, *repeats))
    return made, (*shape[:at], 2 * shape[at], *shape[at + 1 :])


def enlarged(build: Builder, value: ir.Value, shape: Shape) -> Made:
    if len(shape) != 3:
        return None
    scales = build.constant([1.0, 1.0, 2.0, 1.0])
    made = build.op("Resize", value, None, scales, mode="nearest")
    return made, (shape[0], 2 * shape[1], shape[2])


def attended(build: Builder, value: ir.Value, shape: Shape) -> Made:
    """The last two axes as a matrix, times itself."""
    if len(shape) < 2:
        return None
    rank = len(shape) + 1
    other = build.op("Transpose", value, perm=[*range(rank - 2), rank - 1, rank - 2])
    return build.op("MatMul", value, other), (*shape[:-1], shape[-2])


STEPS: tuple[Step, ...] = (
    reshaped, reshaped, merged, split, split, moved, moved, past_the_batch, flattened, squeezed,
    dense, dense, convolved, convolved, depthwise, deconvolved, depth_to_space, space_to_depth,
    pooled, normalized, layer_normalized, recurrent, averaged, shifted, softened, joined, cut_out,
    picked, parted, padded, repeated, enlarged, attended,
)  # fmt: skip
