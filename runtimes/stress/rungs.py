"""The rungs of a ladder: perturbations of one kind and strength, by what an input is.

Each hangs on the seed, its kind and the sample's index alone, so that a batch of another size, or a
part of the data, holds the same samples. Values stay within the range that the data have, whole
numbers stay whole, padding stays padding, and masks, codes, one-hot features and strings stay as
they are. Strengths are in units of the data: deviations, pixels, or shares.
Hendrycks and Dietterich, Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations, https://arxiv.org/abs/1903.12261.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from runtimes.base import Array
from runtimes.data.batches import Batch
from runtimes.data.dataset import Dataset
from runtimes.stress.images import blurred, shifted
from runtimes.stress.statistics import InputKind, Statistics, input_statistics

Change = Callable[[Array, Statistics, float, np.random.Generator], Array]


@dataclass(frozen=True)
class Kind:
    """A kind of perturbation: its strengths, mild to harsh, and what it does to which inputs."""

    name: str
    strengths: tuple[float, ...]
    changes: Mapping[InputKind, Change]


@dataclass(frozen=True)
class Rung:
    """One kind of perturbation at one strength, on all inputs that it suits.

    ``inputs``: what the data say of those, by name.
    """

    kind: str
    strength: float
    inputs: Mapping[str, Statistics] = field(compare=False, repr=False)
    seed: int = 0

    @property
    def name(self) -> str:
        """Such as ``noise 0.1``."""
        return f"{self.kind} {self.strength:g}"

    def on(self, batch: Batch) -> Batch:
        """The batch with every sample perturbed; labels and indices are the same."""
        number = _NAMES.index(self.kind)
        feed = dict(batch.feed)
        for place, (name, statistics) in enumerate(sorted(self.inputs.items())):
            change = KINDS[number].changes.get(statistics.kind)
            if change is None or name not in feed:
                continue
            samples = feed[name].copy()
            for row, index in enumerate(batch.indices.tolist()):
                random = np.random.default_rng([self.seed % 2**64, number, index, place])
                sample = samples[row]
                changed = change(_wide(sample), statistics, self.strength, random)
                samples[row] = statistics.kept(sample, changed)
            feed[name] = samples
        return replace(batch, feed=feed)


def rungs_for(
    data: Dataset, looked_up: Collection[str] | None = None, seed: int = 0
) -> dict[str, tuple[Rung, ...]]:
    """The rungs that suit ``data``, by kind, mild to harsh; none where nothing may change.

    ``looked_up``: names of the inputs that index a table, see ``input_statistics``.
    """
    inputs = input_statistics(data, looked_up)
    return {
        kind.name: tuple(Rung(kind.name, strength, inputs, seed) for strength in kind.strengths)
        for kind in KINDS
        if any(one.kind in kind.changes for one in inputs.values())
    }


def _noise(sample: Array, found: Statistics, strength: float, random: np.random.Generator) -> Array:
    noise: Array = sample + strength * found.deviation * random.standard_normal(sample.shape)
    return noise


def _blur(sample: Array, found: Statistics, strength: float, random: np.random.Generator) -> Array:
    return blurred(sample, found.axes, strength)


def _contrast(
    sample: Array, found: Statistics, strength: float, random: np.random.Generator
) -> Array:
    lessened: Array = sample.mean() + (1 - strength) * (sample - sample.mean())
    return lessened


def _shift(sample: Array, found: Statistics, strength: float, random: np.random.Generator) -> Array:
    return shifted(sample, found.axes, int(strength), random)


def _brightness(
    sample: Array, found: Statistics, strength: float, random: np.random.Generator
) -> Array:
    return _gain(sample, found.low, strength, random)


def _amplitude(
    sample: Array, found: Statistics, strength: float, random: np.random.Generator
) -> Array:
    return _gain(sample, found.mean, strength, random)


def _gain(sample: Array, about: Array, strength: float, random: np.random.Generator) -> Array:
    """More or less of the distance to ``about``: black, or what is usual."""
    scaled: Array = about + (1 + strength * random.choice([-1.0, 1.0])) * (sample - about)
    return scaled


def _drop_steps(
    sample: Array, found: Statistics, strength: float, random: np.random.Generator
) -> Array:
    """Steps that did not arrive: the last one that did stands in for them."""
    arrived = random.random(len(sample)) >= strength
    arrived[:1] = True
    steps: Array = sample[np.maximum.accumulate(np.where(arrived, np.arange(len(sample)), 0))]
    return steps


def _replace_tokens(
    sample: Array, found: Statistics, strength: float, random: np.random.Generator
) -> Array:
    assert found.tokens is not None
    others = found.tokens[random.integers(0, len(found.tokens), sample.shape)]
    return np.where(random.random(sample.shape) < strength, others, sample)


def _wide(sample: Array) -> Array:
    return sample.astype(np.float64) if sample.dtype.kind == "f" else sample


KINDS: tuple[Kind, ...] = (
    Kind(
        "noise",
        (0.1, 0.25, 0.5),
        {"image": _noise, "volume": _noise, "sequence": _noise, "features": _noise},
    ),
    Kind("blur", (0.4, 0.7, 1.0), {"image": _blur}),
    Kind("contrast", (0.15, 0.3, 0.5), {"image": _contrast}),
    Kind("shift", (1, 2, 3), {"image": _shift}),
    Kind(
        "gain",
        (0.1, 0.2, 0.3),
        {
            "image": _brightness,
            "volume": _brightness,
            "sequence": _amplitude,
            "features": _amplitude,
        },
    ),
    Kind("dropped steps", (0.02, 0.05, 0.1), {"sequence": _drop_steps}),
    Kind("replaced tokens", (0.02, 0.05, 0.1), {"tokens": _replace_tokens}),
)
"""All kinds; a rung's random numbers hang on the place of its kind here."""
_NAMES = [kind.name for kind in KINDS]
