"""The models that ``benchmarks/time_to_result.py`` makes: a U-Net and a ResNet50.

    python benchmarks/time_models.py unet|resnet50 FOLDER

Writes ``model.keras``, ``calibration.npz`` and ``test.npz``. The U-Net of half a megabyte learns
for some epochs where disks are on a noisy picture. The ResNet50 at 224 is not trained: its weights
are random, its normalizations fit the pictures, and its last layer is solved so that it tells ten
kinds of pictures apart, which gives its outputs the margins that a trained model has.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

_SIZE, _CHANNELS = 64, (8, 16, 32, 64)
_CLASSES, _PICTURES, _SIDE = 10, 256, 224


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", choices=("unet", "resnet50"))
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    import keras

    keras.utils.set_random_seed(0)
    model, samples = {"unet": unet, "resnet50": resnet50}[options.name](keras)
    options.folder.mkdir(parents=True, exist_ok=True)
    model.save(options.folder / "model.keras")
    half = len(samples["labels"]) // 2
    for name, rows in (("calibration", slice(half)), ("test", slice(half, None))):
        np.savez(options.folder / name, **{key: array[rows] for key, array in samples.items()})
    return 0


def unet(keras: Any) -> tuple[Any, dict[str, Any]]:
    """Four resolutions, two convolutions at each on either side."""
    layers = keras.layers

    def twice(x: Any, channels: int) -> Any:
        for _ in range(2):
            x = layers.Conv2D(channels, 3, padding="same", use_bias=False)(x)
            x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
        return x

    inputs = x = keras.Input((_SIZE, _SIZE, 1), name="picture")
    beside = []
    for channels in _CHANNELS[:-1]:
        x = twice(x, channels)
        beside.append(x)
        x = layers.MaxPooling2D()(x)
    x = twice(x, _CHANNELS[-1])
    for channels, other in zip(_CHANNELS[-2::-1], reversed(beside), strict=True):
        x = layers.Conv2DTranspose(channels, 2, strides=2)(x)
        x = twice(layers.Concatenate()([x, other]), channels)
    model = keras.Model(
        inputs, layers.Conv2D(1, 1, activation="sigmoid", name="disk")(x), name="unet"
    )
    model.compile("adam", "binary_crossentropy")
    pictures, masks = disks(900)
    model.fit(pictures[:450], masks[:450], batch_size=32, epochs=8, verbose=0)
    return model, {"picture": pictures, "labels": masks}


def disks(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures with one to three disks under noise, and where the disks are."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:_SIZE, :_SIZE]
    masks = np.zeros((count, _SIZE, _SIZE, 1), np.float32)
    for mask in masks:
        for _ in range(rng.integers(1, 4)):
            row, column, radius = *rng.integers(8, _SIZE - 8, 2), rng.integers(4, 14)
            mask[(rows - row) ** 2 + (columns - column) ** 2 < radius**2] = 1
    shade = rng.uniform(0.5, 1.0, (count, 1, 1, 1))
    noise = 0.25 * rng.standard_normal(masks.shape)
    return (masks * shade + noise).astype(np.float32), masks


def resnet50(keras: Any) -> tuple[Any, dict[str, Any]]:
    """A ResNet50 of ten classes whose activations are those of normalized layers."""
    pictures, labels = kinds_of_pictures()
    body = keras.applications.ResNet50(
        weights=None, include_top=False, pooling="avg", input_shape=(_SIDE, _SIDE, 3)
    )
    rng = np.random.default_rng(0)
    for layer in body.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0  # one batch tells the statistics
            layer.gamma.assign(rng.uniform(0.5, 1.5, layer.gamma.shape))
            layer.beta.assign(0.2 * rng.standard_normal(layer.beta.shape))
    body(pictures[: _PICTURES // 8], training=True)
    features = body.predict(pictures, batch_size=16, verbose=0)
    learned = features[: _PICTURES // 2]
    centered = np.hstack([learned, np.ones((len(learned), 1), np.float32)])
    wanted = 10 * np.eye(_CLASSES, dtype=np.float32)[labels[: len(learned)]]
    solved = np.linalg.solve(
        centered.T @ centered + 1e-2 * len(learned) * np.eye(centered.shape[1]),
        centered.T @ wanted,
    )
    top = keras.layers.Dense(_CLASSES, name="kind")
    model = keras.Model(body.inputs, top(body.outputs[0]), name="resnet50")
    top.set_weights([solved[:-1], solved[-1]])
    name = model.inputs[0].name
    return model, {name: pictures, "labels": labels}


def kinds_of_pictures() -> tuple[np.ndarray, np.ndarray]:
    """Smooth pictures of ten kinds, each sample with its own noise, as ResNet50 wants them."""
    rng = np.random.default_rng(0)
    coarse = rng.normal(size=(_CLASSES, _SIDE // 16, _SIDE // 16, 3))
    labels = rng.integers(0, _CLASSES, _PICTURES)
    pictures = np.empty((_PICTURES, _SIDE, _SIDE, 3), np.float32)
    for picture, label in zip(pictures, labels, strict=True):
        own = coarse[label] + 0.7 * rng.normal(size=coarse[label].shape)
        smooth = own.repeat(16, axis=0).repeat(16, axis=1)
        picture[:] = 50 * (smooth + 0.2 * rng.standard_normal(picture.shape))
    return pictures, labels.astype(np.int64)


if __name__ == "__main__":
    sys.exit(main())
