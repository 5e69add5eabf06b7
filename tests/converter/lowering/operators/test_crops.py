"""CropAndResize: both methods, boxes that are turned over or outside, crops of one pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

# Of which a quarter of the places is known to TensorFlow and float32 alike: no rounding.
BOXES = np.array(
    [[0, 0, 1, 1], [1, 1, 0, 0], [0, 0.5, 1, 0.25], [-1, -1, -0.5, -0.5], [0.25, -0.5, 1.5, 0.75]],
    np.float32,
)
OWNERS = np.array([[4], [0], [2], [1], [0]], np.int32)


def images(height: int = 9, width: int = 5, dtype: str = "float32") -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 200, (5, height, width, 2)).astype(dtype)


def crops(keras: Any, size: Any, dtype: str = "float32", **options: Any) -> Any:
    import tensorflow as tf

    def cut(tensors: Any) -> Any:
        image, boxes, owners = tensors
        image = tf.cast(image, dtype)
        owners = tf.cast(owners, tf.int32)[:, 0]
        return tf.image.crop_and_resize(image, boxes, owners, size(tensors), **options)

    tensors = [keras.Input((None, None, 2), dtype=dtype), keras.Input((4,)),
               keras.Input((1,), dtype="int32")]  # fmt: skip
    layer = keras.layers.Lambda(cut, output_shape=(None, None, 2))
    return keras.Model(tensors, layer(tensors))


@pytest.mark.parametrize("method", ["bilinear", "nearest"])
@pytest.mark.parametrize("size", [(5, 3), (1, 3), (5, 1)])
def test_crops(keras: Any, parity: Any, method: str, size: tuple[int, int]) -> None:
    model = crops(keras, lambda _: size, method=method, extrapolation_value=-7.0)
    operators = parity(model, [[images(), BOXES, OWNERS], [images(17, 9), BOXES, OWNERS]])
    assert operators["Loop"] == operators["Resize"] == 0
    assert operators["Gather"] == (1 if method == "nearest" else 4)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float16"])
def test_crops_are_floats(keras: Any, parity: Any, dtype: str) -> None:
    parity(crops(keras, lambda _: (5, 3), dtype), [[images(dtype=dtype), BOXES, OWNERS]])


def test_crops_of_a_size_known_at_run_time(keras: Any, parity: Any) -> None:
    import tensorflow as tf

    model = crops(keras, lambda tensors: tf.shape(tensors[0])[1:3] // 4, method="nearest")
    # From 9 x 5 pixels to 2 x 1, from 17 x 9 to 4 x 2.
    wide = BOXES[[0, 1, 3]]
    samples = [[images(*size), wide, OWNERS[:3]] for size in ((9, 5), (17, 9))]
    parity(model, samples)


def test_no_boxes_give_no_crops(keras: Any, parity: Any) -> None:
    nothing = [images(), np.zeros((0, 4), np.float32), np.zeros((0, 1), np.int32)]
    parity(crops(keras, lambda _: (5, 3)), [nothing])
