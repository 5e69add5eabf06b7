"""``kilnx demo``: train a small model on real data and compress it."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from converter.compression.compress import compress
from converter.report.report import Report, files_not_reported
from runtimes.atomic_files import refuse_existing
from runtimes.errors import RuntimeUnavailable
from runtimes.extras import missing_extra
from runtimes.keras_models.load import import_keras, make_deterministic
from runtimes.progress import Progress, silent


def demo(
    output: str | os.PathLike[str],
    *,
    force: bool = False,
    seed: int = 0,
    epochs: int = 14,
    progress: Progress | None = None,
) -> Report:
    """Train a residual network on scikit-learn's digits and compress it into ``output``.

    The data are the 1797 handwritten digits of 8×8 pixels (E. Alpaydin and C. Kaynak, UCI): two
    thirds are for training and calibration, one third for evaluation. Deterministic for a given
    ``seed``. Raises ``RuntimeUnavailable`` if scikit-learn is not installed.
    """
    refuse_existing(output, force=force, foreign=files_not_reported)
    tell = progress or silent
    train, test = load_digits(seed)
    model = trained_network(train, seed, epochs, tell)
    return compress(
        model,
        output,
        train,
        evaluate_on=test,
        metric="top1",
        force=force,
        seed=seed,
        progress=progress,
    )


def trained_network(train: dict[str, Any], seed: int, epochs: int, tell: Progress) -> Any:
    """The Keras model of the demo; the same for a ``seed`` on one machine."""
    tell("loading TensorFlow")
    keras = import_keras()
    keras.utils.set_random_seed(seed)
    make_deterministic()
    model = _residual_network(keras)
    model.compile(
        keras.optimizers.Adam(2e-3),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    rate = keras.callbacks.LearningRateScheduler(lambda epoch: 2e-3 * (0.8**epoch))
    say = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: tell("training", epoch + 1, epochs)
    )
    model.fit(
        train["image"],
        train["labels"],
        batch_size=64,
        epochs=epochs,
        callbacks=[rate, say],
        verbose=0,
        shuffle=True,
    )
    return model


def load_digits(seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Training and test samples: images of 16×16×1 in 0…1, large enough for a deep network."""
    try:
        from sklearn import datasets
    except ImportError as error:
        raise RuntimeUnavailable(
            missing_extra("scikit-learn", "demo", "the demo uses its data")
        ) from error
    digits = datasets.load_digits()
    images = (digits.images / 16.0).astype(np.float32)
    images = np.kron(images, np.ones((1, 2, 2), np.float32))[..., np.newaxis]
    labels = digits.target.astype(np.int64)
    order = np.random.default_rng(seed).permutation(len(labels))
    cut = 2 * len(order) // 3
    parts = order[:cut], order[cut:]
    train, test = ({"image": images[part], "labels": labels[part]} for part in parts)
    return train, test


def _residual_network(keras: Any) -> Any:
    """Three stages of two residual blocks, after He et al., https://arxiv.org/abs/1512.03385."""
    layers = keras.layers

    def block(x: Any, filters: int, stride: int) -> Any:
        shortcut = x
        if stride != 1 or x.shape[-1] != filters:
            shortcut = layers.Conv2D(filters, 1, strides=stride, use_bias=False)(x)
            shortcut = layers.BatchNormalization(momentum=0.9)(shortcut)
        x = layers.Conv2D(filters, 3, strides=stride, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization(momentum=0.9)(x)
        return layers.ReLU()(layers.Add()([x, shortcut]))

    inputs = keras.Input((16, 16, 1), name="image")
    x = layers.Conv2D(16, 3, padding="same", use_bias=False)(inputs)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    for filters, stride in ((16, 1), (32, 2), (64, 2)):
        x = block(x, filters, stride)
        x = block(x, filters, 1)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(10, name="digit")(x), name="digits")
