"""Resizing as TensorFlow's kernels do it, with sizes that are static, dynamic or mixed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

KERNELS = ("lanczos3", "lanczos5", "gaussian", "bicubic", "mitchellcubic", "bilinear")


def image(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)


def resized(keras: Any, shape: tuple[int | None, ...], size: tuple[int, int], **how: Any) -> Any:
    import tensorflow as tf

    tensor = keras.Input(shape)
    layer = keras.layers.Lambda(lambda x: tf.image.resize(x, size, **how))
    return keras.Model(tensor, layer(tensor))


@pytest.mark.sweep(3)
@pytest.mark.parametrize("method", KERNELS)
@pytest.mark.parametrize("size", [(5, 21), (14, 9)])
def test_sampling_kernels(keras: Any, parity: Any, method: str, size: tuple[int, int]) -> None:
    model = resized(keras, (14, 9, 2), size, method=method, antialias=True)
    operators = parity(model, [[image(2, 14, 9, 2)]], tolerance=1e-5)
    assert operators["MatMul"] == 2


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize("how", ["aligned", "legacy", "bilinear", "nearest", "nearest aligned"])
def test_a_scale_that_loses_a_pixel_in_float32(
    keras: Any, parity: Any, how: str, opset: int
) -> None:
    """5 times float32(9 / 5) is 8.9999998: what is added to it would not fit."""
    import tensorflow as tf

    def enlarged(x: Any) -> Any:
        if how in ("bilinear", "nearest"):
            return tf.image.resize(x, (9, 10), method=how)
        method = "nearest" if "nearest" in how else "bilinear"
        old = tf.compat.v1.image.resize
        return old(x, (9, 10), method=method, align_corners="aligned" in how)

    small, large = keras.Input((5, 5, 2)), keras.Input((9, 10, 2))
    y = keras.layers.Add()([keras.layers.Lambda(enlarged)(small), large])
    model = keras.Model([small, large], y)
    samples = [[image(2, 5, 5, 2), image(2, 9, 10, 2)]]
    parity(model, samples, opset=opset, tolerance=1e-5)


@pytest.mark.parametrize("method", ["bicubic", "area", "lanczos3"])
def test_dynamic_sizes(keras: Any, parity: Any, method: str) -> None:
    model = resized(keras, (None, None, 2), (7, 12), method=method)
    samples = [[image(1, 14, 9, 2)], [image(2, 5, 12, 2)]]
    assert parity(model, samples, tolerance=1e-5)["MatMul"] == 2


def test_one_dynamic_size_and_dynamic_channels(keras: Any, parity: Any) -> None:
    model = resized(keras, (None, 9, None), (7, 12), method="bilinear", antialias=True)
    parity(model, [[image(1, 14, 9, 3)]], tolerance=1e-5)


def test_sizes_from_another_tensor(keras: Any, parity: Any) -> None:
    import tensorflow as tf

    tensors = [keras.Input((8, 8, 1)), keras.Input((None, None, 1))]
    layer = keras.layers.Lambda(lambda xs: tf.image.resize(xs[0], tf.shape(xs[1])[1:3], "area"))
    model = keras.Model(tensors, layer(tensors))
    parity(model, [[image(1, 8, 8, 1), image(1, 3, 5, 1)]], tolerance=1e-5)


@pytest.mark.parametrize("method", ["bicubic", "area"])
def test_whole_numbers(keras: Any, parity: Any, method: str) -> None:
    import tensorflow as tf

    tensor = keras.Input((8, 8, 1), dtype="uint8")
    layer = keras.layers.Lambda(lambda x: tf.image.resize(tf.cast(x, tf.uint8), (5, 3), method))
    parity(keras.Model(tensor, layer(tensor)), [[image(1, 8, 8, 1).astype(np.uint8)]])


def test_box_kernel_and_translation(keras: Any, parity: Any) -> None:
    import tensorflow as tf

    def moved(x: Any, kernel: str) -> Any:
        return tf.raw_ops.ScaleAndTranslate(
            images=x, size=[6, 6], scale=[0.7, 1.3], translation=[0.4, -0.6], kernel_type=kernel
        )

    tensor = keras.Input((8, 8, 1))
    both = keras.layers.Lambda(lambda x: [moved(x, "box"), moved(x, "lanczos1")])(tensor)
    parity(keras.Model(tensor, both), [[image(1, 8, 8, 1)]], tolerance=1e-5)


@pytest.mark.sweep(5)
@pytest.mark.parametrize("method", ["resize_bicubic", "resize_area"])
@pytest.mark.parametrize("corners", [True, False])
@pytest.mark.parametrize("size", [(5, 11), (1, 8)])
@pytest.mark.parametrize("known", [True, False])
def test_older_rules(
    keras: Any, parity: Any, *, method: str, corners: bool, size: tuple[int, int], known: bool
) -> None:
    import tensorflow as tf

    resize = getattr(tf.compat.v1.image, method)
    tensor = keras.Input((8, 7, 1) if known else (None, None, 1))
    layer = keras.layers.Lambda(lambda x: resize(x, size, align_corners=corners))
    parity(keras.Model(tensor, layer(tensor)), [[image(2, 8, 7, 1)]], tolerance=1e-5)
