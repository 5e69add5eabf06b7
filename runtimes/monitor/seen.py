"""What is known of some samples: inputs, answers, and what the monitor's own runs told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from runtimes.base import Array
from runtimes.monitor.binning import Binning
from runtimes.monitor.layout import Block, Group
from runtimes.monitor.shadow import comparable, disagreement, noise_decibels


@dataclass(frozen=True)
class Seen:
    """Samples side by side; what was not measured is None."""

    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array] | None = None
    ends: Array | None = None
    fp32: Mapping[str, Array] | None = None

    def tensor(self, block: Block) -> Array | None:
        """The array that a block measures; None where it is not there."""
        if block.group == "inputs":
            return self.inputs.get(block.tensor)
        if block.group == "saturation":
            fits = self.ends is not None and self.ends.shape[1] == len(block.names)
            return self.ends if fits else None
        found = None if self.outputs is None else self.outputs.get(block.tensor)
        if block.group == "outputs" or found is None:
            return found
        expected = None if self.fp32 is None else self.fp32.get(block.tensor)
        if expected is None or not comparable(expected, found):
            return None
        return _COMPARED[block.form](expected, found)


_COMPARED: Mapping[str, Callable[[Array, Array], Array]] = {
    "disagreement": disagreement,
    "noise": noise_decibels,
}


class GroupBinning:
    """The blocks of one group, whose features stand side by side in one array."""

    def __init__(self, group: Group, blocks: Sequence[Block]) -> None:
        self.group = group
        self.blocks = tuple(blocks)
        self.bins = max((block.bins for block in self.blocks), default=0)
        self._binnings = [Binning(block) for block in self.blocks]

    def shares(self, seen: Seen) -> Array | None:
        """Shares ``[samples, features, bins]``; None where some tensor was not measured."""
        arrays = [seen.tensor(binning.block) for binning in self._binnings]
        if not arrays or any(one is None for one in arrays):
            return None
        parts = [
            binning.shares(one)
            for binning, one in zip(self._binnings, arrays, strict=True)
            if one is not None
        ]
        if len(parts) == 1:
            return parts[0]
        features = sum(part.shape[1] for part in parts)
        found, place = np.zeros((len(parts[0]), features, self.bins)), 0
        for part in parts:
            found[:, place : place + part.shape[1], : part.shape[2]] = part
            place += part.shape[1]
        return found


def padded(array: Array, bins: int) -> Array:
    """The last axis filled with zeros up to ``bins``."""
    missing = bins - array.shape[-1]
    if not missing:
        return array
    return np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, missing)])
