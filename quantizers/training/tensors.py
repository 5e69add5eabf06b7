"""TensorFlow tensors with the order of their axes.

TensorFlow's convolutions run on CPUs with the channels last, ONNX has them second. A tensor keeps
the order in which it was made until an operator asks for the other, so that a chain of convolutions
transposes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

# Below this rank there are no spatial axes, and the channels are last in both orders.
_SPATIAL_RANK = 3


@dataclass(frozen=True)
class Tensor:
    """A TensorFlow tensor (or a NumPy constant), and whether its channels were moved last.

    ``data`` of shape [N, spatial..., C] where ``channels_last``, else as ONNX has it.
    """

    data: Any
    channels_last: bool = False

    @property
    def rank(self) -> int:
        """The number of axes."""
        return len(self.data.shape)

    @property
    def first(self) -> Any:
        """The data in ONNX' order of axes."""
        return _transposed(self.data, to_first(self.rank)) if self.channels_last else self.data

    @property
    def last(self) -> Any:
        """The data with the channels last; of a tensor without spatial axes as they are."""
        if self.channels_last or self.rank < _SPATIAL_RANK:
            return self.data
        return _transposed(self.data, to_last(self.rank))

    def last_at_rank(self, rank: int) -> Any:
        """The data as ONNX would broadcast them to ``rank`` axes, with the channels last."""
        if self.channels_last or self.rank == 0:
            return self.data
        missing = rank - self.rank
        if missing == 0:
            return self.last
        return _transposed(_with_leading(self.data, missing), to_last(rank))

    def axis(self, axis: int) -> int:
        """Where ONNX' ``axis`` (which may be negative) is in ``data``."""
        axis %= self.rank
        return to_last(self.rank).index(axis) if self.channels_last else axis

    def like(self, data: Any) -> Tensor:
        """Other ``data`` of the same rank, in the same order."""
        return Tensor(data, self.channels_last)


def to_last(rank: int) -> list[int]:
    """The permutation that moves the channels from second to last: [0, 2, ..., 1]."""
    return [0, *range(2, rank), 1]


def to_first(rank: int) -> list[int]:
    """The permutation that moves the channels from last to second: [0, rank - 1, 1, ...]."""
    return [0, rank - 1, *range(1, rank - 1)]


def static(data: Any) -> np.ndarray[Any, np.dtype[Any]] | None:
    """The value of ``data`` where it is known before the graph runs, else None."""
    import tensorflow as tf

    if isinstance(data, np.ndarray | np.generic | int | float):
        return np.asarray(data)
    found = tf.get_static_value(data)
    return None if found is None else np.asarray(found)


def shape_of(data: Any) -> Any:
    """The shape: numbers where all are known, else a tensor of int32."""
    import tensorflow as tf

    shape = list(data.shape)
    return shape if all(isinstance(size, int) for size in shape) else tf.shape(data)


def sizes_of(data: Any) -> list[Any]:
    """The size of each axis: a number where it is known, else a scalar tensor of int32."""
    import tensorflow as tf

    shape = list(data.shape)
    if all(isinstance(size, int) for size in shape):
        return shape
    found = tf.shape(data)
    return [size if isinstance(size, int) else found[axis] for axis, size in enumerate(shape)]


def _transposed(data: Any, permutation: list[int]) -> Any:
    import tensorflow as tf

    if isinstance(data, np.ndarray):
        return data.transpose(permutation)
    return tf.transpose(data, permutation)


def _with_leading(data: Any, missing: int) -> Any:
    import tensorflow as tf

    if isinstance(data, np.ndarray):
        return data.reshape((1,) * missing + data.shape)
    return tf.reshape(data, [1] * missing + sizes_of(data))
