"""Adam with a warm-up and a cosine, each parameter in steps of its own size, and their average.

A weight whose numbers are a hundred times those of another needs steps a hundred times as large: a
folded normalization makes such pairs. So a step is a share of the root mean square that a parameter
had at first, as in Adafactor (https://arxiv.org/abs/1804.04235, section 8). While steps are large
the parameters wander about what is good; their average does not (Polyak and Juditsky,
https://doi.org/10.1137/0330046), so that is what is looked at and kept.
Matrices take steps of their own kind (``matrices``).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np

from quantizers.training.matrices import along_all
from runtimes.base import Array

# A bias of zeros has no size of its own; so much less than weights of variance 1 is small.
_LEAST_SIZE = 0.05
_DECAYS = 0.9, 0.99
_EPSILON = 1e-8
# The share of all steps that the average reaches back.
_AVERAGED = 0.05


class Adam:
    """Adam (https://arxiv.org/abs/1412.6980) on parameters by name.

    All of them are one row of numbers, so that a step is a few operators, however many there are:
    those of a small graph would else take longer than the graph.

    Args:
        initial: The parameters; what is learned is ``learned``, its average ``average``.
        rate: The largest step, as a share of a parameter's root mean square; may be set later.
        steps: After how many steps the rate is 0.
        warmup: In how many it rises from 0.
        matrices: Names of those whose steps are as long in every direction, see ``matrices_of``.
    """

    def __init__(
        self,
        initial: Mapping[str, Array],
        *,
        rate: float,
        steps: int,
        warmup: int,
        matrices: Collection[str] = (),
    ) -> None:
        import tensorflow as tf

        self._matrices = [name for name in initial if name in matrices]
        rest = [name for name in initial if name not in matrices]
        self._shapes = {name: initial[name].shape for name in (*self._matrices, *rest)}
        zeros = np.zeros_like(_row(initial.values()))
        self.learned, self.average, self._sizes = (tf.Variable(zeros) for _ in range(3))
        self._moments = [tf.Variable(zeros) for _ in _DECAYS]
        self.begin(initial, rate=rate, steps=steps, warmup=warmup)

    def begin(self, initial: Mapping[str, Array], *, rate: float, steps: int, warmup: int) -> None:
        """Forget what was learned, and start from ``initial``: parameters of the same shapes."""
        self.rate, self._steps, self._warmup = rate, steps, max(1, warmup)
        arrays = [initial[name] for name in self._shapes]
        row = _row(arrays)
        self.learned.assign(row)
        self.average.assign(row)
        self._sizes.assign(
            np.concatenate([np.full(array.size, size_of(array), row.dtype) for array in arrays])
        )
        for moment in self._moments:
            moment.assign(np.zeros_like(row))
        self._done = 0

    def named(self, row: Any) -> dict[str, Any]:
        """``row``, such as ``learned``, as parameters by name."""
        import tensorflow as tf

        shapes = self._shapes
        parts = tf.split(tf.convert_to_tensor(row), [math.prod(one) for one in shapes.values()])
        return {
            name: tf.reshape(part, shape)
            for (name, shape), part in zip(shapes.items(), parts, strict=True)
        }

    def settings(self) -> Array:
        """Rate, the corrections of both moments, and what the average takes of the next step."""
        self._done += 1
        rise = min(1.0, self._done / self._warmup)
        fall = 0.5 * (1 + math.cos(math.pi * min(1.0, self._done / self._steps)))
        corrections = [1 - decay**self._done for decay in _DECAYS]
        taken = 1 / min(self._done, max(1.0, _AVERAGED * self._steps))
        return np.array([self.rate * rise * fall, *corrections, taken], np.float32)

    def apply(self, gradient: Any, settings: Any) -> None:
        """Take one step along the gradient of ``learned``."""
        import tensorflow as tf

        mean, square = self._moments
        mean.assign(_DECAYS[0] * mean + (1 - _DECAYS[0]) * gradient)
        square.assign(_DECAYS[1] * square + (1 - _DECAYS[1]) * gradient * gradient)
        direction = mean / settings[1] / (tf.sqrt(square / settings[2]) + _EPSILON)
        if self._matrices:
            direction = self._along_all(_DECAYS[0] * mean + (1 - _DECAYS[0]) * gradient, direction)
        self.learned.assign_sub(settings[0] * self._sizes * direction)
        self.average.assign_add(settings[3] * (self.learned - self.average))

    def _along_all(self, gradient: Any, direction: Any) -> Any:
        """``direction`` with that of the matrices, which come first, by ``gradient`` instead."""
        import tensorflow as tf

        parts = self.named(gradient)
        steps = [tf.reshape(along_all(parts[name]), (-1,)) for name in self._matrices]
        done = sum(math.prod(self._shapes[name]) for name in self._matrices)
        return tf.concat([*steps, direction[done:]], 0)

    def values(self) -> dict[str, Array]:
        """What the parameters are now, on average."""
        return {name: part.numpy() for name, part in self.named(self.average).items()}

    def show(self, values: Mapping[str, Array]) -> None:
        """Let the average be what it was, as ``values`` told then."""
        self.average.assign(_row([values[name] for name in self._shapes]))


def _row(arrays: Iterable[Array]) -> Array:
    return np.concatenate([array.reshape(-1) for array in arrays])


def size_of(array: Array) -> float:
    """The root mean square, and not less than a bias should be free to move by."""
    return max(float(np.sqrt(np.mean(np.square(array, dtype=np.float64)))), _LEAST_SIZE)
