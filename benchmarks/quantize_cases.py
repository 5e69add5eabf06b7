"""The cases of ``benchmarks/quantize.py``: each function fills a folder.

Every quantizer gets ``model.onnx``, except LiteRT, which gets ``model.keras`` (some cases have
none). ``calibration.npz`` and ``test.npz`` are the data.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Case = Callable[[Path, Path], None]
Array = np.ndarray[Any, np.dtype[Any]]

MASK = -4_200_000.0
"""A mask value found in a published model; unless it is recognized, it ruins the scale."""


def cases(models: Path | None) -> dict[str, Case]:
    """Every case by name; those of the folder of models only if the folder has them."""
    found: dict[str, Case] = {}
    for name in ("resnet_s", "mbv2", "fer", "mtcnn_onet", "mtcnn_rnet", "lstm", "textgenrnn"):
        if models is not None and (models / name).is_dir():
            found[name] = from_folder
    if "mbv2" in found:
        found["mbv2 unequal"] = unequal
    found["transformer"] = transformer
    found["masked LSTM"] = masked_lstm
    found["front end"] = front_end
    found["MobileNetV2 224"] = application("MobileNetV2")
    found["ResNet50 224"] = application("ResNet50")
    return found


def from_folder(folder: Path, work: Path) -> None:
    """A model of the given folder, with its own data."""
    import keras

    from converter import convert

    source = next(path for path in folder.iterdir() if path.suffix in (".keras", ".hdf5", ".h5"))
    custom = {"AttentionWeightedAverage": _attention_weighted_average()}
    convert(source, work / "model.onnx", force=True, custom_objects=custom)
    for name in ("calibration", "test"):
        shutil.copyfile(folder / f"{name}.npz", work / f"{name}.npz")
    model = keras.models.load_model(source, compile=False, custom_objects=custom)
    model.save(work / "model.keras")


def _attention_weighted_average() -> type:
    """The layer of textgenrnn that its file needs (MIT, PyPI textgenrnn 2.0.0)."""
    import keras

    class AttentionWeightedAverage(keras.layers.Layer):  # type: ignore[misc]
        def build(self, shape: Any) -> None:
            self.W = self.add_weight(shape=(shape[-1], 1), name="attention_W")

        def call(self, x: Any) -> Any:
            scores = keras.ops.squeeze(keras.ops.matmul(x, self.W), -1)
            weights = keras.ops.exp(scores - keras.ops.max(scores, -1, keepdims=True))
            weights = weights / (keras.ops.sum(weights, 1, keepdims=True) + 1e-7)
            return keras.ops.sum(x * keras.ops.expand_dims(weights, -1), 1)

        def compute_output_shape(self, shape: Any) -> Any:
            return (shape[0], shape[-1])

    return AttentionWeightedAverage


def unequal(folder: Path, work: Path) -> None:
    """``mbv2`` with channels rescaled by 0.1 … 10 wherever that does not change the outputs."""
    import onnx_ir as ir

    from quantizers.equalization.channel_groups import channel_groups
    from quantizers.equalization.cross_layer import rescale
    from quantizers.rewrites.prepare import prepare

    from_folder(folder, work)
    (work / "model.keras").unlink()
    model = prepare(ir.load(work / "model.onnx"))
    rng = np.random.default_rng(0)
    for group in channel_groups(model.graph, lambda node, reason: None):
        rescale(group, 10 ** rng.uniform(-1, 1, group.channels), model.graph)
    ir.save(model, work / "model.onnx")


def application(name: str) -> Case:
    """A model of keras.applications at 224 with random weights and matching statistics."""

    def make(folder: Path, work: Path) -> None:
        import keras

        keras.utils.set_random_seed(0)
        model = getattr(keras.applications, name)(weights=None, classifier_activation=None)
        settle(model, images(8, seed=2))
        data = {kind: {"images": images(64, seed)} for seed, kind in enumerate(KINDS)}
        write(model, data, work)

    return make


KINDS = ("calibration", "test")


def images(count: int, seed: int, size: int = 224) -> Array:
    """Smooth random images with some noise, ``[count, size, size, 3]`` float32."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(count, size // 16, size // 16, 3))
    smooth = coarse.repeat(16, axis=1).repeat(16, axis=2).astype(np.float32)
    return smooth + 0.2 * rng.standard_normal(smooth.shape, dtype=np.float32)


def settle(model: Any, data: Array) -> None:
    """Give every BatchNormalization the statistics of ``data``, and scales as after training."""
    import keras

    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
            layer.gamma.assign(rng.uniform(0.5, 1.5, layer.gamma.shape))
            layer.beta.assign(rng.normal(0.0, 0.3, layer.beta.shape))
    model(data, training=True)


def transformer(folder: Path, work: Path) -> None:
    """Four encoder blocks of width 128, exact GELU, random weights and tokens."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    tokens = keras.Input((32,), dtype="int32", name="tokens")
    x = layers.Embedding(500, 128)(tokens)
    for _ in range(4):
        attended = layers.MultiHeadAttention(4, 32)(x, x)
        x = layers.LayerNormalization()(x + attended)
        wide = layers.Dense(512, activation="gelu")(x)
        x = layers.LayerNormalization()(x + layers.Dense(128)(wide))
    scores = layers.Dense(10)(layers.GlobalAveragePooling1D()(x))
    rng = np.random.default_rng(0)
    data = {kind: {"tokens": rng.integers(0, 500, (200, 32)).astype(np.int32)} for kind in KINDS}
    write(keras.Model(tokens, scores), data, work)


def masked_lstm(folder: Path, work: Path) -> None:
    """Sequences of different lengths, padded with a value far from all data."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    signal = keras.Input((40, 16), name="signal")
    x = layers.Masking(mask_value=MASK)(signal)
    x = layers.LSTM(64, return_sequences=True)(x)
    x = layers.LSTM(64)(x)
    model = keras.Model(signal, layers.Dense(6)(layers.Dense(32, activation="relu")(x)))
    rng = np.random.default_rng(0)
    data = {}
    for kind in KINDS:
        array = np.cumsum(rng.normal(size=(200, 40, 16)), axis=1).astype(np.float32) / 3
        for row, length in zip(array, rng.integers(10, 41, len(array)), strict=True):
            row[length:] = MASK
        data[kind] = {"signal": array}
    write(model, data, work)


def front_end(folder: Path, work: Path) -> None:
    """Sound → log spectrogram by convolutions (filters as in a constant-Q transform) → CNN."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    sound = keras.Input((4096, 1), name="sound")
    bins, length = 48, 512
    frequencies = 2.0 ** (np.arange(bins) / 12) * 0.01
    time, window = np.arange(length), np.hanning(length)
    parts = []
    for wave in (np.cos, np.sin):
        kernel = wave(2 * np.pi * frequencies * time[:, None]) * window[:, None] / length
        layer = layers.Conv1D(bins, length, strides=64, use_bias=False, padding="same")
        part = layer(sound)
        layer.set_weights([kernel[:, None, :].astype(np.float32)])
        parts.append(part)
    power = layers.Lambda(lambda both: both[0] ** 2 + both[1] ** 2)(parts)
    x = layers.Lambda(lambda p: keras.ops.log(p + 1e-8))(power)
    x = layers.Reshape((64, bins, 1))(x)
    for width in (16, 32, 32):
        x = layers.Conv2D(width, 3, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.MaxPooling2D()(x)
    scores = layers.Dense(8)(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(sound, scores)
    data = {kind: {"sound": _sounds(200, seed)} for seed, kind in enumerate(KINDS)}
    settle(model, _sounds(64, seed=2))
    write(model, data, work)


def _sounds(count: int, seed: int) -> Array:
    """A few fading partials of very different loudness, with some noise: ``[count, 4096, 1]``."""
    rng = np.random.default_rng(seed)
    time = np.arange(4096)
    total = np.zeros((count, 4096))
    for _ in range(4):
        pitch = 0.01 * 2.0 ** rng.uniform(0, 4, (count, 1))
        loud = 10.0 ** rng.uniform(-2, 0, (count, 1))
        total += loud * np.sin(2 * np.pi * pitch * time) * np.exp(-time / rng.uniform(500, 5000))
    noisy = total + 0.003 * rng.normal(size=total.shape)
    return noisy[..., None].astype(np.float32)


def write(model: Any, data: dict[str, dict[str, Array]], work: Path) -> None:
    """Save ``model`` in both forms with its data."""
    from converter import convert

    for kind, arrays in data.items():
        np.savez(work / f"{kind}.npz", **arrays)
    convert(model, work / "model.onnx", force=True)
    model.save(work / "model.keras")
