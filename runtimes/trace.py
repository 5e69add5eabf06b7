"""Where two models part: every layer against the reference's, together and alone.

A layer's *accumulated* error is that of the candidate's own run up to there. Its *isolated* error
is what it adds by itself: the layer alone, fed with what the reference gives its predecessors. Only
the culprit has a large isolated error; its victims do not.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from runtimes.base import Array, Feed
from runtimes.dataset import Dataset
from runtimes.double import DoubleEvaluator
from runtimes.errors import ModelError
from runtimes.feed import fixed_batch
from runtimes.fingerprint import Fingerprint, fingerprint
from runtimes.keras import KerasRuntime
from runtimes.keras_walk import walk_keras
from runtimes.layer_join import MOVING, Pair, Seen, join, plausible
from runtimes.layer_names import QUANTIZING, label_of, layer_of
from runtimes.layer_report import ROUNDING_DB, LayerParity, LayersReport, decibels, explain_layers
from runtimes.modelfile import load_model, model_inputs
from runtimes.onnx_walk import Part, PartedModel, float_values
from runtimes.open import is_keras
from runtimes.ort import OrtRuntime, is_quantized
from runtimes.pairing import pair_specs
from runtimes.verdict import DEFAULT_SQNR_DB, NOISE_MULTIPLE

_PROBE_SAMPLES = 3
_EPSILON = float(np.finfo(np.float32).eps)
_JUMP_DB = 6.0  # twice the error
# Where a factor for each channel explains all but this share of the error's power, it is one.
_UNEXPLAINED = 0.1
_WORTH_SCALING = 1e-3  # of the reference's power
_ONE: Array = np.ones(())

Progress = Callable[[int, int | None], None]


def compare_layers(
    reference: Any,
    candidate: Any,
    data: Any,
    *,
    provider: str = "cpu",
    reference_provider: str = "cpu",
    samples: int = 16,
    batch_size: int = 4,
    threads: int | None = None,
    progress: Progress | None = None,
) -> LayersReport:
    """Walk both models in step and say which layer is not the reference's.

    ``reference`` is what ``open_runtime`` takes, ``candidate`` an ONNX model (path, graph or open
    ``OrtRuntime``), ``data`` what ``Dataset.open`` takes, of which the first ``samples`` are used.
    Values are joined by name and by the Keras layer paths that ``kilnx convert`` writes
    (``runtimes.layer_join``); of a Keras model every layer is told, of an ONNX model every node.
    Only what a later layer needs is kept. A float layer departs when its isolated error exceeds 16
    times its own rounding error, a layer of a quantized model when its isolated SQNR lies 6 dB
    below the median of the layers that are not exact, or below 20 dB. Raises ``ModelError`` where
    nothing can be joined.
    """
    graph = _graph_of(candidate)
    with ExitStack() as stack:
        source: _Reference = _open_reference(reference, reference_provider, threads, stack)
        inputs = pair_specs("input", source.inputs, model_inputs(graph), source.name, _name(graph))
        fixed = fixed_batch(source.inputs) or fixed_batch(model_inputs(graph))
        dataset = Dataset.open(data, inputs=source.inputs).take(samples)
        first = next(iter(dataset.batches(fixed or _PROBE_SAMPLES)))
        whole = PartedModel(graph, float_values(graph), provider=provider, threads=threads)
        seen, prints = _probe(source, whole, _filled(first.feed, fixed or 0), inputs)
        pairs = plausible(graph, join(graph, prints, seen))
        if not pairs:
            raise ModelError(
                f"no value of {_name(graph)} could be joined with one of {source.name}: they share "
                "neither names nor layer paths; export the model with kilnx convert"
            )
        parted = PartedModel(
            graph, [pair.value for pair in pairs], provider=provider, threads=threads
        )
        walk = _Walk(parted, pairs, quantized=is_quantized(graph))
        count = 0
        for batch in dataset.batches(fixed or batch_size):
            feed = _filled(batch.feed, fixed or 0)
            walk.start({inputs[name]: values for name, values in feed.items()})
            source.walk(feed, walk.reference_gives)
            walk.finish()
            count += len(batch)
            if progress:
                progress(count, samples)
    left_out = len(prints) - len(pairs)
    notes = [*dataset.notes]
    if left_out:
        notes.append(
            f"{left_out} of {len(prints)} values of the candidate have no partner in the "
            "reference; they are judged together with the value that follows"
        )
    return walk.report(source.name, _name(graph), count, notes)


class _Reference:
    """A model that is walked: calls ``emit(key, layer, value)`` for every float inside it."""

    name: str
    inputs: tuple[Any, ...]

    def walk(self, feed: Feed, emit: Callable[[str, str | None, Array], None]) -> None:
        raise NotImplementedError


class _KerasReference(_Reference):
    def __init__(self, runtime: KerasRuntime) -> None:
        self._runtime = runtime
        self.name, self.inputs = runtime.name, runtime.inputs

    def walk(self, feed: Feed, emit: Callable[[str, str | None, Array], None]) -> None:
        calls: dict[str, int] = {}

        def tell(path: str, value: Array) -> None:
            calls[path] = calls.get(path, 0) + 1
            if value.dtype.kind == "f":
                emit(path if calls[path] == 1 else f"{path} #{calls[path]}", path, value)

        walk_keras(self._runtime, feed, tell)


class _OnnxReference(_Reference):
    def __init__(self, graph: ir.Model, provider: str, threads: int | None) -> None:
        self._parted = PartedModel(graph, float_values(graph), provider=provider, threads=threads)
        self.name, self.inputs = _name(graph), model_inputs(graph)

    def walk(self, feed: Feed, emit: Callable[[str, str | None, Array], None]) -> None:
        def tell(part: Part, value: Array) -> None:
            if value.dtype.kind == "f":
                node = part.value.producer()
                emit(str(part.value.name), layer_of(node) if node else None, value)

        self._parted.walk(feed, tell)


class _Walk:
    """The candidate's parts, run as soon as the reference has given what they need."""

    def __init__(self, parted: PartedModel, pairs: Sequence[Pair], *, quantized: bool) -> None:
        self._parted, self._pairs = parted, pairs
        self._quantized = quantized
        self._scales: dict[str, Array] = {}  # of equalized channels, by value
        self._pair_of = {str(pair.value.name): pair for pair in pairs}
        self._dead = parted.last_uses()
        self._sums = [_Sums() for _ in pairs]
        self._last_need: dict[str, int] = {}
        for place, (pair, part) in enumerate(zip(pairs, parted.parts, strict=True)):
            for key in self._needed(pair, part):
                self._last_need[key] = place
        self._first = True
        self._next = 0
        self._own: dict[str, Array] = {}
        self._feed: Mapping[str, Array] = {}
        self._known: dict[str, Array] = {}

    def start(self, feed: Mapping[str, Array]) -> None:
        self._next, self._own, self._feed, self._known = 0, dict(feed), feed, {}

    def reference_gives(self, key: str, layer: str | None, value: Array) -> None:
        if key not in self._last_need:
            return
        self._known[key] = value
        while self._next < len(self._pairs):
            pair, part = self._pairs[self._next], self._parted.parts[self._next]
            if not all(needed in self._known for needed in self._needed(pair, part)):
                return
            self._compare(self._next, pair, part)
            for name in self._dead[self._next]:
                self._own.pop(name, None)
            for done in [k for k in self._known if self._last_need[k] <= self._next]:
                del self._known[done]
            self._next += 1

    def finish(self) -> None:
        assert self._next == len(self._pairs), "the reference gave other values than before"
        self._first = False

    def _needed(self, pair: Pair, part: Part) -> Iterator[str]:
        yield pair.key
        for value in part.inputs:
            before = self._pair_of.get(str(value.name))
            if before is not None:
                yield before.key

    def _compare(self, place: int, pair: Pair, part: Part) -> None:
        expected = self._known[pair.key]
        if pair.clamped:
            expected = np.maximum(expected, 0)
        by_itself = any(str(v.name) in self._pair_of for v in part.inputs)
        fed = {str(v.name): self._reference_for(v) for v in part.inputs}
        own, *apart = self._parted.run_part(part, self._own, *([fed] if by_itself else []))
        alone = apart[0] if apart else own
        self._own[str(part.value.name)] = own
        name = str(part.value.name)
        if self._first and self._quantized and not part.value.is_graph_output():
            turned = pair.alignment.to_reference(own, expected.shape)
            found = _channel_scale(turned, expected)
            if found is not None:
                self._scales[name] = found
        sums = self._sums[place]
        sums.add(
            expected.astype(np.float64) * self._scales.get(name, _ONE),
            pair.alignment.to_reference(own, expected.shape).astype(np.float64),
            pair.alignment.to_reference(alone, expected.shape).astype(np.float64),
        )
        if not self._quantized and sums.isolated > _limit(sums.peak, sums.noise or 0.0):
            noise = _own_noise(self._parted.as_model(part, fed), fed, alone)
            if noise is not None:
                sums.noise = max(noise, sums.noise or 0.0)

    def _reference_for(self, value: ir.Value) -> Array:
        """What the candidate's value would be if the reference's run were its own."""
        name = str(value.name)
        pair = self._pair_of.get(name)
        if pair is None:
            return self._feed[name]
        own = self._own[name]
        given = self._known[pair.key]
        if name in self._scales:
            given = given * self._scales[name]
        return pair.alignment.to_candidate(given, own.shape).astype(own.dtype)

    def report(
        self, reference: str, candidate: str, samples: int, notes: Sequence[str]
    ) -> LayersReport:
        departing = self._departing()
        layers = tuple(
            _parity(pair, part, sums, place in departing)
            for place, (pair, part, sums) in enumerate(
                zip(self._pairs, self._parted.parts, self._sums, strict=True)
            )
        )
        if self._scales:
            notes = [
                *notes,
                f"{len(self._scales)} values are the reference's times a factor for each channel",
            ]
        culprit = self._culprit(layers)
        jump = self._jump(layers)
        return LayersReport(
            culprit=culprit.layer if culprit else None,
            first_jump=jump.layer if jump else None,
            reason=explain_layers(culprit, jump, layers, quantized=self._quantized),
            reference=reference,
            candidate=candidate,
            samples=samples,
            layers=layers,
            notes=tuple(notes),
        )

    def _departing(self) -> set[int]:
        if self._quantized:
            known = [s.isolated_decibels() for s in self._sums]
            # Layers that stayed in float differ by rounding: they say nothing about INT8.
            finite = [one for one in known if one is not None and one < ROUNDING_DB]
            line = DEFAULT_SQNR_DB
            if finite:
                line = max(line, statistics.median(finite) - _JUMP_DB)
            return {i for i, one in enumerate(known) if one is not None and one < line}
        return {
            i for i, s in enumerate(self._sums) if not s.isolated <= _limit(s.peak, s.noise or 0.0)
        }

    def _culprit(self, layers: Sequence[LayerParity]) -> LayerParity | None:
        blamed = [one for one in layers if one.departs]
        if self._quantized and blamed:
            return min(blamed, key=lambda one: one.isolated_sqnr_db or math.inf)
        return blamed[0] if blamed else None

    def _jump(self, layers: Sequence[LayerParity]) -> LayerParity | None:
        """The first layer whose accumulated error is twice that of what it was fed, and real."""
        found = {one.value: one for one in layers}
        for one, part in zip(layers, self._parted.parts, strict=True):
            before = [found[str(v.name)] for v in part.inputs if str(v.name) in found]
            worst = max((other.relative_error for other in before), default=0.0)
            real = 0.01 if self._quantized else NOISE_MULTIPLE * _EPSILON
            if not one.relative_error <= max(2 * worst, real):
                return one
        return None


@dataclass
class _Sums:
    """Errors of one value, added up over the batches."""

    peak: float = 0.0
    error: float = 0.0
    isolated: float = 0.0
    signal: float = 0.0
    error_power: float = 0.0
    isolated_power: float = 0.0
    noise: float | None = None

    def add(self, expected: Array, own: Array, alone: Array) -> None:
        finite = np.isfinite(expected)
        self.peak = max(self.peak, float(np.max(np.abs(expected), where=finite, initial=0.0)))
        self.signal += float(np.sum(expected**2, where=finite))
        self.error, power = _apart(expected, own, self.error)
        self.error_power += power
        self.isolated, power = _apart(expected, alone, self.isolated)
        self.isolated_power += power

    def isolated_decibels(self) -> float | None:
        return decibels(self.signal, self.isolated_power)


def _apart(expected: Array, found: Array, so_far: float) -> tuple[float, float]:
    with np.errstate(invalid="ignore"):
        error = np.abs(found - expected)
    error[found == expected] = 0.0
    error[~np.isfinite(error)] = np.inf
    return max(so_far, float(error.max(initial=0.0))), float((error**2).sum())


def _limit(peak: float, noise: float) -> float:
    return NOISE_MULTIPLE * max(noise, _EPSILON * peak)


def _own_noise(model: ir.Model, feed: Feed, found: Array) -> float | None:
    """The rounding error of a part on ``feed``; None where it cannot be evaluated in double."""
    try:
        exact = next(iter(DoubleEvaluator(model).run(feed).values()))
    except ModelError:
        return None
    apart, _ = _apart(exact, found.astype(np.float64), 0.0)
    return apart


def _channel_scale(own: Array, expected: Array) -> Array | None:
    """A factor for each channel, where the candidate's value is the reference's times that.

    Equalized channels are so on purpose, and the next layer undoes it.
    """
    wide, other = expected.astype(np.float64), own.astype(np.float64)
    power = float((wide**2).sum())
    plain_error = float(((other - wide) ** 2).sum())
    if wide.ndim < 2 or power == 0 or not plain_error > _WORTH_SCALING * power:
        return None
    for axis in range(1, wide.ndim):
        others = tuple(a for a in range(wide.ndim) if a != axis)
        below = (wide**2).sum(axis=others, keepdims=True)
        factor = (wide * other).sum(axis=others, keepdims=True) / np.where(below == 0, 1, below)
        factor[(below == 0) | (factor <= 0)] = 1.0
        scaled = wide * factor
        left = float(((other - scaled) ** 2).sum())
        if left < _UNEXPLAINED * plain_error:
            return np.asarray(factor)
    return None


def _parity(pair: Pair, part: Part, sums: _Sums, departs: bool) -> LayerParity:
    peak = sums.peak or 1.0
    return LayerParity(
        layer=_label(part),
        value=str(part.value.name),
        reference=pair.key,
        operators=tuple(n.op_type for n in part.nodes if n.op_type not in QUANTIZING),
        peak=sums.peak,
        error=sums.error,
        relative_error=sums.error / peak,
        sqnr_db=decibels(sums.signal, sums.error_power),
        isolated_error=sums.isolated,
        isolated_relative_error=sums.isolated / peak,
        isolated_sqnr_db=sums.isolated_decibels(),
        own_noise=sums.noise,
        departs=departs,
    )


def _label(part: Part) -> str:
    """The layers that a part computes, in order."""
    computing = [node for node in part.nodes if node.op_type not in MOVING]
    return " + ".join(dict.fromkeys(label_of(node) for node in computing or part.nodes[-1:]))


def _probe(
    source: _Reference, parted: PartedModel, feed: Feed, inputs: Mapping[str, str]
) -> tuple[list[Seen], dict[str, Fingerprint]]:
    """What the values of both models look like on a few samples."""
    seen: list[Seen] = []
    source.walk(feed, lambda key, layer, v: seen.append(Seen(key, layer, fingerprint(v))))
    prints: dict[str, Fingerprint] = {}

    def look(part: Part, value: Array) -> None:
        if value.dtype.kind == "f":
            prints[str(part.value.name)] = fingerprint(value)

    parted.walk({inputs[name]: values for name, values in feed.items()}, look)
    return seen, prints


def _open_reference(
    reference: Any, provider: str, threads: int | None, stack: ExitStack
) -> _Reference:
    if isinstance(reference, KerasRuntime):
        return _KerasReference(reference)
    if is_keras(reference):
        return _KerasReference(stack.enter_context(KerasRuntime(reference)))
    return _OnnxReference(_graph_of(reference), provider, threads)


def _graph_of(model: Any) -> ir.Model:
    if isinstance(model, OrtRuntime):
        model = model.source
    if isinstance(model, KerasRuntime) or is_keras(model):
        raise ModelError("layers are compared inside an ONNX model: give one as the candidate")
    return load_model(model)


def _name(graph: ir.Model) -> str:
    return graph.graph.name or "the ONNX model"


def _filled(feed: Feed, size: int) -> dict[str, Array]:
    """The feed, with the last sample repeated up to ``size``."""
    count = len(next(iter(feed.values())))
    return {
        name: np.concatenate([v, np.repeat(v[-1:], max(0, size - count), axis=0)])
        for name, v in feed.items()
    }
