"""Operators inside of tf.function, where only ranks and channels are known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from trainable_cases.case import Case, case, distinct, floats, ints
from trainable_cases.recurrent import recurrent
from trainable_cases.table import all_cases
from trainable_checks import assert_close, feed_of, model_of, values_of

from quantizers.training.graph import TrainableGraph

X = floats(2, 4, 7, 8)
SQUARE: dict[str, Any] = {"kernel_shape": [3, 3], "strides": [2, 2]}
MORE = [
    case("Conv", X, floats(6, 4, 3, 3), auto_pad="SAME_UPPER", strides=[2, 3]),
    case("Conv", X, floats(4, 1, 3, 3), group=4, auto_pad="SAME_LOWER", strides=[2, 2]),
    case("ConvTranspose", X, floats(4, 3, 3, 3), auto_pad="SAME_UPPER", strides=[2, 2]),
    case("ConvTranspose", X, floats(4, 3, 3, 3), pads=[1, 0, 0, 2], strides=[2, 4]),
    case("AveragePool", distinct(2, 4, 7, 8), **SQUARE, pads=[1, 1, 1, 1], ceil_mode=1),
    case("MaxPool", distinct(2, 4, 5, 6, 7), kernel_shape=[2, 2, 2], ceil_mode=1),
    case("Resize", X, None, np.array([1, 1, 2, 2], np.float32), mode="nearest"),
    case("Resize", X, None, None, ints(2, 4, 5, 13), mode="linear"),
    case("Pad", X, ints(0, 0, 1, 2, 0, 0, 2, 1), mode="edge"),
    case("Slice", X, ints(-3), ints(2**62), ints(2)),
    recurrent("GRU", lengths=np.array([4, 2, 3], np.int32), direction="reverse"),
]
# It splits into equal parts, for which it needs to know the size.
NEEDS_SIZES = "Split"


def first_of_each() -> list[Case]:
    """The first case of each operator."""
    first: dict[str, Case] = {}
    for one in all_cases():
        fed = [array for array in one.arrays[:1] if array is not None and array.ndim]
        if fed and one.op_type != NEEDS_SIZES and 0 not in one.initializers:
            first.setdefault(one.op_type, one)
    return list(first.values())


@pytest.mark.parametrize("one", MORE, ids=lambda one: one.label)
def test_arithmetic_of_sizes(one: Case) -> None:
    compare(one)


@pytest.mark.slow
@pytest.mark.parametrize("one", first_of_each(), ids=lambda one: one.label)
def test_every_operator(one: Case) -> None:
    compare(one)


def test_a_reshape_to_sizes_and_zeros(graph: Callable[..., ir.Model]) -> None:
    import tensorflow as tf

    model = graph(
        """g (float[n, length, 6] x, float[2] other) => (float[n, length, 2, 3] y, float[2] z)
        { z = Add (other, other) s = Shape <end = 1> (x) t = Concat <axis = 0> (s, rest)
          y = Reshape (x, t) }""",
        {"other": np.ones(2, np.float32), "rest": ints(0, 2, 3)},
    )
    trained = TrainableGraph(model)

    @tf.function(input_signature=[tf.TensorSpec([None, None, 6])])
    def run(x: Any) -> Any:
        return trained.run(trained.initial(), {"x": x})["y"]

    x = floats(2, 5, 6)
    np.testing.assert_array_equal(run(x), x.reshape(2, 5, 2, 3))


def compare(one: Case) -> None:
    """The values are those of known sizes."""
    import tensorflow as tf

    one = replace(one, constant=frozenset(range(1, len(one.arrays))))
    model, feed = model_of(one, last_only=True), feed_of(one)
    graph = TrainableGraph(model)
    spec = {name: tf.TensorSpec(_free(array), array.dtype) for name, array in feed.items()}

    @tf.function(input_signature=[spec])
    def run(given: Any) -> Any:
        return graph.run(graph.initial(), given)

    found = run({name: tf.constant(array) for name, array in feed.items()})
    for name, wanted in values_of(model, feed).items():
        assert_close(np.asarray(found[name]), wanted, 1e-6)


def _free(array: Any) -> list[int | None]:
    """All sizes but that of the channels."""
    rank = array.ndim
    channels = 1 if rank > 2 else rank - 1
    return [size if axis == channels else None for axis, size in enumerate(array.shape)]
