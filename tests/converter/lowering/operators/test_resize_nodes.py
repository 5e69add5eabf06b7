"""Nearest and bilinear resizing: sizes that float32 scales miss, and pixels that ONNX misreads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

RULES = {
    "plain": {},
    "corners": {"align_corners": True},
    "centers": {"half_pixel_centers": True},
}


def pixels(*shape: int, dtype: str = "float32") -> np.ndarray[Any, Any]:
    """Each pixel another number, so that a neighbour in its place shows."""
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def resized(
    keras: Any, kind: str, shape: Any, size: Any, dtype: str = "float32", **how: Any
) -> Any:
    import tensorflow as tf

    operator = getattr(tf.raw_ops, kind)
    tensor = keras.Input(shape, dtype=dtype)
    layer = keras.layers.Lambda(
        lambda x: operator(images=tf.cast(x, dtype), size=size, **how), dtype=dtype
    )
    return keras.Model(tensor, layer(tensor))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("sizes", [(5, 9), (3, 7), (7, 3), (4, 1)])
def test_a_scale_loses_no_pixel(keras: Any, parity: Any, rule: str, sizes: tuple[int, int]) -> None:
    """5 times float32(1.8) is below 9."""
    before, after = sizes
    model = resized(keras, "ResizeBilinear", (before, before, 2), (after, after), **RULES[rule])
    operators = parity(model, [[pixels(2, before, before, 2)]])
    assert operators["Resize"] == 1


# Sizes at which TensorFlow's and ONNX's rounding read neighbouring pixels, and others.
@pytest.mark.parametrize(("rule", "before", "after"), [
    ("plain", 2, 82), ("plain", 5, 10),
    ("centers", 2, 41), ("centers", 5, 10),
    ("corners", 4, 75), ("corners", 5, 9),
])  # fmt: skip
@pytest.mark.parametrize("known", [True, False])
def test_nearest_reads_the_pixels_that_tensorflow_reads(
    keras: Any, parity: Any, *, rule: str, before: int, after: int, known: bool
) -> None:
    shape = (before, 3, 1) if known else (None, None, 1)
    model = resized(keras, "ResizeNearestNeighbor", shape, (after, 3), **RULES[rule])
    operators = parity(model, [[pixels(1, before, 3, 1)]])
    assert operators["Resize"] == int(known and after <= 10)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "float16"])
@pytest.mark.parametrize("kind", ["ResizeBilinear", "ResizeNearestNeighbor"])
def test_element_types(keras: Any, parity: Any, kind: str, dtype: str) -> None:
    model = resized(keras, kind, (4, 4, 2), (7, 8), dtype)
    parity(model, [[pixels(2, 4, 4, 2, dtype=dtype)]])


def test_sizes_of_another_tensor(keras: Any, parity: Any) -> None:
    import tensorflow as tf

    tensors = [keras.Input((None, None, 1)), keras.Input((None, None, 1))]
    layer = keras.layers.Lambda(
        lambda xs: [
            tf.image.resize(xs[0], tf.shape(xs[1])[1:3], method)
            for method in ("bilinear", "nearest")
        ]
    )
    model = keras.Model(tensors, layer(tensors))
    samples = [
        [pixels(1, *a, 1), pixels(1, *b, 1)] for a, b in (((8, 8), (3, 5)), ((2, 4), (82, 7)))
    ]
    parity(model, samples)
