"""Adam with a warm-up and a cosine, each parameter in steps of its own size, and their average.

A weight whose numbers are a hundred times those of another needs steps a hundred times as large: a
folded normalization makes such pairs. So a step is a share of the root mean square that a parameter
had at first, as in Adafactor (https://arxiv.org/abs/1804.04235, section 8). While steps are large
the parameters wander about what is good; their average does not (Polyak and Juditsky,
https://doi.org/10.1137/0330046), so that is what is looked at and kept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from runtimes.base import Array

# A bias of zeros has no size of its own; so much less than weights of variance 1 is small.
_LEAST_SIZE = 0.05
_DECAYS = 0.9, 0.99
_EPSILON = 1e-8
# The share of all steps that the average reaches back.
_AVERAGED = 0.05


class Adam:
    """Adam (https://arxiv.org/abs/1412.6980) on variables by name.

    Args:
        initial: The parameters; what is learned is in ``variables``, its average in ``averages``.
        rate: The largest step, as a share of a parameter's root mean square; may be set later.
        steps: After how many steps the rate is 0.
        warmup: In how many it rises from 0.
    """

    def __init__(
        self, initial: Mapping[str, Array], *, rate: float, steps: int, warmup: int
    ) -> None:
        import tensorflow as tf

        self.rate, self._steps, self._warmup = rate, steps, max(1, warmup)
        self.variables = {name: tf.Variable(array) for name, array in initial.items()}
        self.averages = {name: tf.Variable(array) for name, array in initial.items()}
        self._sizes = {name: size_of(array) for name, array in initial.items()}
        self._moments = {
            name: tuple(tf.Variable(tf.zeros_like(variable)) for _ in _DECAYS)
            for name, variable in self.variables.items()
        }
        self._done = 0

    def settings(self) -> Array:
        """Rate, the corrections of both moments, and what the average takes of the next step."""
        self._done += 1
        rise = min(1.0, self._done / self._warmup)
        fall = 0.5 * (1 + math.cos(math.pi * min(1.0, self._done / self._steps)))
        corrections = [1 - decay**self._done for decay in _DECAYS]
        taken = 1 / min(self._done, max(1.0, _AVERAGED * self._steps))
        return np.array([self.rate * rise * fall, *corrections, taken], np.float32)

    def apply(self, gradients: Mapping[str, Any], settings: Any) -> None:
        """Take one step; parameters without a gradient (None) stay."""
        import tensorflow as tf

        for name, gradient in gradients.items():
            if gradient is None:
                continue
            dense = tf.convert_to_tensor(gradient)  # those of looked-up rows are sparse
            mean, square = self._moments[name]
            mean.assign(_DECAYS[0] * mean + (1 - _DECAYS[0]) * dense)
            square.assign(_DECAYS[1] * square + (1 - _DECAYS[1]) * dense * dense)
            direction = mean / settings[1] / (tf.sqrt(square / settings[2]) + _EPSILON)
            variable, average = self.variables[name], self.averages[name]
            variable.assign_sub(settings[0] * self._sizes[name] * direction)
            average.assign_add(settings[3] * (variable - average))

    def values(self) -> dict[str, Array]:
        """What the parameters are now, on average."""
        return {name: average.numpy() for name, average in self.averages.items()}


def size_of(array: Array) -> float:
    """The root mean square, and not less than a bias should be free to move by."""
    return max(float(np.sqrt(np.mean(np.square(array, dtype=np.float64)))), _LEAST_SIZE)
