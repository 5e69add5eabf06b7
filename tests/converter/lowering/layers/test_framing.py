"""Frames of a signal, for lengths that are known and that are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


def signal(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def framed(keras: Any, shape: tuple[int | None, ...], **how: Any) -> Any:
    import tensorflow as tf

    inputs = keras.Input(shape)
    return keras.Model(inputs, keras.layers.Lambda(lambda x: tf.signal.frame(x, **how))(inputs))


@pytest.mark.parametrize(("length", "step"), [(8, 4), (8, 8), (7, 3), (4, 10), (6, 4)])
def test_known_lengths_need_no_arithmetic(keras: Any, parity: Any, length: int, step: int) -> None:
    model = framed(keras, (2, 30), frame_length=length, frame_step=step)
    operators = parity(model, [[signal(3, 2, 30)]])
    assert set(operators) <= {"Slice", "Reshape", "Gather"}


@pytest.mark.parametrize(("length", "step"), [(8, 4), (7, 3), (4, 10)])
def test_dynamic_lengths(keras: Any, parity: Any, length: int, step: int) -> None:
    model = framed(keras, (None,), frame_length=length, frame_step=step)
    samples = [[signal(2, size)] for size in (40, length + step, length, length - 1, 1)]
    assert sum(parity(model, samples).values()) <= 15  # a division that rounds down is three nodes


@pytest.mark.parametrize("how", [{"pad_end": True}, {"axis": 1}])
def test_what_stays_tensorflow_s(keras: Any, parity: Any, how: dict[str, Any]) -> None:
    model = framed(keras, (30, 12), frame_length=8, frame_step=4, **how)
    parity(model, [[signal(2, 30, 12)]])


def test_a_spectrogram_of_known_length(keras: Any, parity: Any) -> None:
    inputs = keras.Input((600,))
    layer = keras.layers.MelSpectrogram(fft_length=64, sequence_stride=16, num_mel_bins=8)
    operators = parity(keras.Model(inputs, layer(inputs)), [[signal(2, 600)]], tolerance=1e-4)
    assert operators["Shape"] == 0
    assert operators["MatMul"] == 2
