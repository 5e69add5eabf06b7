"""Several steps in one call of TensorFlow: calling it takes longer than a step of a small graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from quantizers.training.pool import Group, bytes_of

Step = Callable[[Any, Any, Any], None]
"""Takes inputs and targets, both by name, and the settings of the optimizer."""

# No more than fit into so many bytes: of large graphs the call is little, and Ctrl-C waits for it.
_MOST, _MOST_BYTES = 16, 8 * 2**20


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


def stacked(batches: Sequence[Group]) -> Group:
    """Batches of one shape along a new first axis."""
    first = batches[0]
    return Group(
        {name: np.stack([one.feed[name] for one in batches]) for name in first.feed},
        {name: np.stack([one.targets[name] for one in batches]) for name in first.targets},
    )


def is_like(one: Group, other: Group) -> bool:
    """Whether the inputs and targets of both have the same shapes."""
    return _shapes(one) == _shapes(other)


def _shapes(group: Group) -> list[tuple[int, ...]]:
    return [array.shape for array in (*group.feed.values(), *group.targets.values())]
