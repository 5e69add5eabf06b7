"""How large is a model's own rounding error? The measure of what another runtime may differ by.

The reference is evaluated in double precision, on the samples where the candidate is farthest from
it and on some others; the difference to its own single precision is what rounding does to this
model on these data. Where it cannot be evaluated in double, its float inputs are moved by one unit
in the last place instead. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., ch. 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from runtimes.base import Array, Feed, TensorSpec
from runtimes.engines.batching import Runner, run_padded
from runtimes.engines.keras import KerasRuntime
from runtimes.engines.runtime import Runtime
from runtimes.errors import ModelError
from runtimes.keras_models.float64 import double_model
from runtimes.keras_models.signature import LiveModel
from runtimes.onnx_files.load_save import load_model
from runtimes.parity.float64.evaluator import DoubleEvaluator, widened
from runtimes.parity.masked import mask_threshold

_FIRST_SAMPLES = 4
_WORST_SAMPLES = 4  # of each output
_MAX_FEED_BYTES = 64_000_000


@dataclass(frozen=True)
class Noise:
    """Largest rounding error of each output, absolute; how it was found and on what.

    Never below half a unit in the last place of the output's own largest magnitude, which storing
    it costs.
    """

    errors: Mapping[str, float]
    samples: int
    method: str


class Probe:
    """The samples that the noise is measured on: the first ones and those of the largest error."""

    def __init__(self) -> None:
        self._first: dict[int, Feed] = {}
        self._worst: dict[str, list[tuple[float, int, Feed]]] = {}
        self._room = max(_FIRST_SAMPLES, _WORST_SAMPLES)  # the least of all batches

    def add(self, feed: Feed, indices: Array, errors: Mapping[str, Array | None]) -> None:
        """Look at a batch and the largest error of each sample in each output."""
        self._room = min(self._room, _room(feed))
        for row in range(min(len(indices), _FIRST_SAMPLES - len(self._first))):
            self._first[int(indices[row])] = _row(feed, row)
        for output, found in errors.items():
            if found is None:
                continue
            kept = self._worst.setdefault(output, [])
            for row in np.argsort(-found, kind="stable")[: min(_WORST_SAMPLES, self._room)]:
                kept.append((float(found[row]), int(indices[row]), _row(feed, int(row))))
        self._leave_out()

    def absorb(self, later: Probe) -> None:
        """Add what was seen in batches that come later."""
        self._room = min(self._room, later._room)
        for index, feed in later._first.items():
            if len(self._first) < _FIRST_SAMPLES:
                self._first[index] = feed
        for output, others in later._worst.items():
            self._worst.setdefault(output, []).extend(others)
        self._leave_out()

    def state(self) -> dict[str, Any]:
        """What ``restored`` takes: a tree of plain values and arrays."""
        worst = {name: [list(one) for one in kept] for name, kept in self._worst.items()}
        first = [[index, feed] for index, feed in self._first.items()]
        return {"first": first, "worst": worst, "room": self._room}

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> Probe:
        """What ``state`` gave."""
        found = cls()
        found._first = dict(state["first"])
        found._worst = {
            name: [(error, index, feed) for error, index, feed in kept]
            for name, kept in state["worst"].items()
        }
        found._room = int(state["room"])
        return found

    def _leave_out(self) -> None:
        """Keep what there is room for, however the samples were grouped."""
        for index in list(self._first)[min(_FIRST_SAMPLES, self._room) :]:
            del self._first[index]
        for kept in self._worst.values():
            kept.sort(key=lambda one: (-one[0], one[1]))
            del kept[min(_WORST_SAMPLES, self._room) :]

    def samples(self) -> list[Feed]:
        """Each chosen sample once, as a batch of one, in the order of the data."""
        chosen = dict(self._first)
        for kept in self._worst.values():
            chosen.update({index: feed for _, index, feed in kept})
        return [chosen[index] for index in sorted(chosen)]


def measure_noise(
    reference: Runtime,
    samples: Sequence[Feed],
    seed: int = 0,
    *,
    masks: Mapping[str, tuple[float, ...]] = MappingProxyType({}),
) -> Noise | None:
    """The rounding error of ``reference`` on ``samples``; None where nothing can tell.

    ``masks``: constants that a mask writes into an output, by name; they are left out.
    """
    if not samples:
        return None
    limits = {name: mask_threshold(constants) for name, constants in masks.items()}
    try:
        return _against(reference, samples, in_double(reference).run, "against float64", limits)
    except ModelError:
        pass
    if not any(_is_real(values) for feed in samples for values in feed.values()):
        return None
    rng = np.random.default_rng(seed)

    def moved(feed: Feed) -> dict[str, Array]:
        return run_padded(reference, moved_feed(feed, rng))

    how = "inputs moved by one unit in the last place"
    return _against(reference, samples, moved, how, limits)


def in_double(reference: Runtime) -> Runner:
    """The model of ``reference`` in float64; ``ModelError`` where it cannot be had."""
    source = reference.source
    if isinstance(source, LiveModel):
        return _DoubleKeras(reference, source)
    return _Padded(DoubleEvaluator(load_model(source)))


@dataclass
class _Padded:
    """Runs of one sample on a model whose batch is fixed."""

    exact: Runner
    name: str = field(init=False)
    inputs: tuple[TensorSpec, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.name, self.inputs = self.exact.name, self.exact.inputs

    def run(self, feed: Feed, outputs: Sequence[str] | None = None) -> dict[str, Array]:
        return run_padded(self.exact, feed, outputs)


class _DoubleKeras:
    def __init__(self, reference: Runtime, source: LiveModel) -> None:
        self._runtime = KerasRuntime(double_model(source.model))
        self._names = [spec.name for spec in reference.outputs]
        self.name, self.inputs = reference.name, reference.inputs

    def run(self, feed: Feed, outputs: Sequence[str] | None = None) -> dict[str, Array]:
        wide = {
            spec.name: feed[name].astype(spec.dtype)
            for name, spec in zip(feed, self._ordered(feed), strict=True)
        }
        found = run_padded(self._runtime, wide)
        return {
            name: found[spec.name]
            for name, spec in zip(self._names, self._runtime.outputs, strict=True)
            if outputs is None or name in outputs
        }

    def _ordered(self, feed: Feed) -> list[TensorSpec]:
        places = {spec.name: place for place, spec in enumerate(self.inputs)}
        return [self._runtime.inputs[places[name]] for name in feed]


def _against(
    reference: Runtime,
    samples: Sequence[Feed],
    evaluate: Callable[[Feed], Mapping[str, Array]],
    method: str,
    limits: Mapping[str, float],
) -> Noise:
    errors: dict[str, float] = {}
    for feed in samples:
        rounded, exact = run_padded(reference, feed), evaluate(feed)
        for name, values in rounded.items():
            if values.dtype.kind != "f" or not values.size:
                continue
            if exact[name].shape != values.shape:
                raise ModelError(f"{name!r} has another shape in float64")
            wide = widened(values)
            finite = np.isfinite(wide) & np.isfinite(exact[name])
            finite &= np.abs(wide) < limits.get(name, np.inf)
            apart = np.abs(wide - exact[name], where=finite, out=np.zeros(wide.shape))
            peak = float(np.max(np.abs(wide), where=finite, initial=0.0))
            least = float(np.finfo(values.dtype).eps) / 2 * peak
            errors[name] = max(errors.get(name, 0.0), float(apart.max()), least)
    return Noise(errors, len(samples), method)


def moved_feed(feed: Feed, rng: np.random.Generator) -> dict[str, Array]:
    """The feed with its floats moved by one unit in the last place, up or down.

    Whole numbers stay: they may be indices, or the value that marks a step as absent.
    """
    return {name: _moved(values, rng) for name, values in feed.items()}


def _moved(values: Array, rng: np.random.Generator) -> Array:
    if not _is_real(values):
        return values
    towards = rng.choice(np.array([-np.inf, np.inf], values.dtype), values.shape)
    moved: Array = np.where(values == np.floor(values), values, np.nextafter(values, towards))
    return moved


def _is_real(values: Array) -> bool:
    """Whether some value is not whole: whole floats may be indices, which do not move."""
    return values.dtype.kind == "f" and bool((values != np.floor(values)).any())


def _row(feed: Feed, row: int) -> dict[str, Array]:
    return {name: values[row : row + 1].copy() for name, values in feed.items()}


def _room(feed: Feed) -> int:
    size = sum(values[:1].nbytes for values in feed.values())
    return max(1, _MAX_FEED_BYTES // max(size, 1) // (_FIRST_SAMPLES + 2 * _WORST_SAMPLES))
