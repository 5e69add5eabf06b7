"""Cutting a signal into frames, without the arithmetic on shapes that TensorFlow traces.

``tf.signal.frame`` asks for each size at run time, also where it is known.
"""

from __future__ import annotations

import importlib
from math import gcd
from typing import Any

import numpy as np

from converter.lowering.markers import Replacement


def framing_replacements() -> list[Replacement]:
    """``tf.signal.frame`` where users and Keras call it, and where TensorFlow's STFT does."""
    import tensorflow as tf

    internal = importlib.import_module("tensorflow.python.ops.signal.shape_ops")
    return [Replacement(tf.signal, "frame", _frame), Replacement(internal, "frame", _frame)]


def _frame(  # noqa: PLR0917  # TensorFlow's own signature
    signal: Any,
    frame_length: Any,
    frame_step: Any,
    pad_end: bool = False,
    pad_value: Any = 0,
    axis: int = -1,
    name: str | None = None,
) -> Any:
    """Frames (…, frames, frame_length) of a signal (…, samples)."""
    import tensorflow as tf

    signal = tf.convert_to_tensor(signal)
    length, step = (
        tf.get_static_value(tf.convert_to_tensor(n)) for n in (frame_length, frame_step)
    )
    rank = signal.shape.rank
    if pad_end or length is None or step is None or not rank or axis not in (-1, rank - 1):
        return NotImplemented
    length, step = int(length), int(step)
    *outer, samples = signal.shape
    if samples is None or samples < length or outer.count(None) > 1:
        return _gathered(signal, length, step)
    # Frames overlap in whole pieces of the greatest length that divides both; a table of
    # pieces is that much smaller than one of samples.
    piece = gcd(length, step)
    outer = [-1 if dim is None else dim for dim in outer]
    count, frames = samples // piece, (samples - length) // step + 1
    if count * piece != samples:
        signal = signal[..., : count * piece]
    pieces = tf.reshape(signal, [*outer, count, piece])
    starts = np.arange(frames)[:, None] * (step // piece)
    table = (starts + np.arange(length // piece)).astype(np.int32)
    return tf.reshape(tf.gather(pieces, table, axis=rank - 1), [*outer, frames, length])


def _gathered(signal: Any, length: int, step: int) -> Any:
    """Frames of a signal whose length is dynamic, sample by sample."""
    import tensorflow as tf

    samples = tf.shape(signal)[-1]
    # Less than one frame gives none: the sum is negative, or it is less than the divisor.
    frames = (samples - length + step) // step
    table = (tf.range(frames) * step)[:, None] + np.arange(length, dtype=np.int32)
    return tf.gather(signal, table, axis=signal.shape.rank - 1)
