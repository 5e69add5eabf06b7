"""Several steps in one call of TensorFlow: calling it takes longer than a step of a small graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from quantizers.training.pool import Group, bytes_of, combined
from runtimes.base import Array

Step = Callable[[Any, Any, Any], None]
"""Takes inputs and targets, both by name, and the settings of the optimizer."""

# No more than fit into so many bytes: of large graphs the call is little, and Ctrl-C waits for it.
_MOST, _MOST_BYTES = 16, 8 * 2**20
# So many shapes are traced one by one.
_MOST_SHAPES = 4


def steps_at_once(samples: Sequence[Group], batch_size: int, gap: int) -> int:
    """How many steps to take in a call, so that ``gap`` steps are a number of calls.

    ``samples``: some, of which batches will be like.
    """
    each = bytes_of(samples) / sum(group.count for group in samples)
    most = min(_MOST, int(_MOST_BYTES / (each * batch_size)))
    return max(number for number in range(1, max(1, most) + 1) if gap % number == 0)


def in_turn(step: Step) -> Step:
    """``step`` for each place along the first axis of all that it is given."""

    def steps(feeds: Any, targets: Any, settings: Any) -> None:
        import tensorflow as tf

        count = tf.shape(settings)[0]

        def one(place: Any) -> tuple[Any]:
            feed = {name: array[place] for name, array in feeds.items()}
            wanted = {name: array[place] for name, array in targets.items()}
            step(feed, wanted, settings[place])
            return (place + 1,)

        tf.while_loop(lambda place: place < count, one, (0,), parallel_iterations=1)

    return steps


class TracedSteps:
    """``in_turn`` of a step, traced once for batches of a shape, however many come at once.

    Where there are many shapes, as of texts, TensorFlow makes one that takes all of them.
    """

    def __init__(self, steps: Step) -> None:
        import tensorflow as tf

        self._steps = tf.function(steps, autograph=False, reduce_retracing=True)
        self._traced: dict[tuple[object, ...], Any] = {}

    @property
    def serves(self) -> bool:
        """Whether what was traced does not hang on which shapes came first."""
        return len(self._traced) < _MOST_SHAPES

    def take(self, batches: Group, settings: Array) -> None:
        """Take a step for each place along the first axis of ``batches`` and ``settings``."""
        feed, targets = dict(batches.feed), dict(batches.targets)
        key = batches.shapes
        if key not in self._traced and len(self._traced) < _MOST_SHAPES:
            given = [
                {name: _of_any_number(array) for name, array in arrays.items()}
                for arrays in (feed, targets)
            ]
            self._traced[key] = self._steps.get_concrete_function(*given, _of_any_number(settings))
        self._traced.get(key, self._steps)(feed, targets, settings)


def _of_any_number(array: Array) -> Any:
    import tensorflow as tf

    return tf.TensorSpec([None, *array.shape[1:]], array.dtype)


def stacked(batches: Sequence[Group]) -> Group:
    """Batches of one shape along a new first axis."""
    return combined(batches, np.stack)


def is_like(one: Group, other: Group) -> bool:
    """Whether the inputs and targets of both have the same shapes."""
    return (one.count, one.shapes) == (other.count, other.shapes)
