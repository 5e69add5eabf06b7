"""Steps that fill a sequence up to a length: what is done to them would no longer be padding."""

from __future__ import annotations

import numpy as np

from runtimes.base import Array


def padded_steps(sample: Array) -> Array:
    """Which steps of one sample [steps, ...] hold nothing: equal ones at an end, two at least.

    Steps inside that hold the same are masked like them.
    """
    steps = sample.reshape(len(sample), -1)
    padded = np.zeros(len(steps), bool)
    if len(steps) < 2:
        return padded
    for end, next_to_it in ((steps[0], steps[1]), (steps[-1], steps[-2])):
        # A mask fills all features of a step with one value.
        if (end == next_to_it).all() and (end == end[0]).all():
            padded |= (steps == end).all(axis=1)
    return padded
