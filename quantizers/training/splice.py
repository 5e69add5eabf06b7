"""Samples of two: a part of another one in the place of what was there.

A patch of an image (CutMix, https://arxiv.org/abs/1905.04899), or some steps of a sequence. Numbers
can be blended as well; tokens cannot, so without this a student of a model that reads text learns
from nothing but the samples that there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from runtimes.base import Array, Feed
from runtimes.stress.statistics import Statistics

_WITH_STEPS = frozenset({"sequence", "tokens"})
# How much of a sample comes from the other one, at most: the share of its pixels or steps.
_MOST = 0.5


@dataclass(frozen=True)
class Splice:
    """Which inputs have parts that another sample's may stand in for.

    ``inputs``: what the data say of them. The same part of all inputs is taken, as shares of their
    sizes, so that masks and what they mask stay together where both are of so many steps.
    """

    inputs: Mapping[str, Statistics]

    @property
    def is_possible(self) -> bool:
        """Whether there is any such input."""
        return any(self._axes(one) for one in self.inputs.values())

    def on(
        self, feed: Feed, other: Array, chosen: Array, random: np.random.Generator
    ) -> dict[str, Array]:
        """The samples with a part of those at ``other``, where ``chosen``; each in its own way."""
        count = len(other)
        share = random.uniform(0, _MOST, count)
        starts, tall = random.random((2, count)), np.sqrt(share)
        found = dict(feed)
        steps = self._steps(feed)
        for name, array in feed.items():
            one = self.inputs.get(name)
            axes = self._axes(one) if one else ()
            if not axes and array.ndim > 1 and array.shape[1] in steps:
                axes = (0,)
            if not axes:
                continue
            part = chosen.reshape(-1, *[1] * (array.ndim - 1))
            size = share if len(axes) == 1 else tall
            for axis, start in zip(axes, starts, strict=False):
                part = part & _within(array, axis + 1, start, size)
            found[name] = np.where(part, array[other], array)
        return found

    def _steps(self, feed: Feed) -> set[int]:
        """Of how many steps inputs are."""
        return {feed[name].shape[1] for name, one in self.inputs.items() if one.kind in _WITH_STEPS}

    @staticmethod
    def _axes(found: Statistics) -> tuple[int, ...]:
        """Of a sample: along which parts of it are next to each other."""
        if found.kind == "image":
            return found.axes
        return (0,) if found.kind in _WITH_STEPS else ()


def _within(array: Array, axis: int, start: Array, share: Array) -> Array:
    """Whether a place along ``axis`` is in a span of ``share`` of it, for every sample."""
    size = array.shape[axis]
    length = np.maximum(1, np.rint(share * size))
    first = np.rint(start * (size - length))
    places = np.arange(size).reshape(1, -1)
    inside = (places >= first[:, None]) & (places < (first + length)[:, None])
    shape = [1] * array.ndim
    shape[0], shape[axis] = len(array), size
    spans: Array = inside.reshape(shape)
    return spans
