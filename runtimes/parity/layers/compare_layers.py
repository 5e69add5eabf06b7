"""Where two models part: every layer against the reference's, together and alone.

A layer's *accumulated* error is that of the candidate's own run up to there. Its *isolated* error
is what it adds by itself: the layer alone, fed with what the reference gives its predecessors. Only
the culprit has a large isolated error; its victims do not.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import onnx_ir as ir

from runtimes.base import Array, Feed
from runtimes.data.dataset import Dataset
from runtimes.engines.batching import as_taken, fixed_batch
from runtimes.errors import ModelError
from runtimes.onnx_files.load_save import model_inputs
from runtimes.onnx_graph.layer_names import QUANTIZING, label_of
from runtimes.onnx_graph.quantized import is_quantized
from runtimes.onnx_graph.values import is_constant
from runtimes.parity.layers.fingerprint import Fingerprint, fingerprint
from runtimes.parity.layers.layer_error import LayerError, channel_scale, own_noise, rounding_limit
from runtimes.parity.layers.match_layers import MOVING, Pair, Seen, join, plausible
from runtimes.parity.layers.reference import Reference, graph_of, name_of, open_reference
from runtimes.parity.layers.report import (
    ROUNDING_DB,
    LayerParity,
    LayersReport,
    decibels,
    explain_layers,
)
from runtimes.parity.layers.walk_onnx import Part, PartedModel, float_values
from runtimes.parity.match_tensors import pair_specs
from runtimes.parity.tolerance import NOISE_MULTIPLE
from runtimes.parity.verdict import DEFAULT_SQNR_DB
from runtimes.progress import Progress

_PROBE_SAMPLES = 3
_EPSILON = float(np.finfo(np.float32).eps)
_JUMP_DB = 6.0  # twice the error
_ONE: Array = np.ones(())


def compare_layers(
    reference: Any,
    candidate: Any,
    data: Any,
    *,
    provider: str = "cpu",
    reference_provider: str = "cpu",
    samples: int = 16,
    samples_per_step: int = 4,
    threads: int = 1,
    progress: Progress | None = None,
) -> LayersReport:
    """Walk both models in step and say which layer is not the reference's.

    Values are joined by name and by the Keras layer paths that ``kilnx convert`` writes
    (``match_layers``); of a Keras model every layer is told, of an ONNX model every node.
    Only what a later layer needs is kept. A float layer departs when its isolated error exceeds 16
    times its own rounding error, a layer of a quantized model when its isolated SQNR lies 6 dB
    below the median of the layers that are not exact, or below 20 dB.

    Args:
        reference: What ``open_runtime`` takes.
        candidate: An ONNX model: path, graph or open ``OrtRuntime``.
        data: What ``Dataset.open`` takes.
        provider: Where the candidate runs.
        reference_provider: Where the reference runs.
        samples: How many of the first samples are used.
        samples_per_step: Samples that are run at a time, their activations held.
        threads: Threads of one run.
        progress: Called with the samples done.

    Returns:
        The error of every layer, and the layer to blame, if there is one.

    Raises:
        ModelError: No value of one model could be joined with one of the other.

    Example:
        >>> compare_layers("model.onnx", "model.onnx", "samples.npz").culprit is None
        True
    """
    graph = graph_of(candidate)
    with ExitStack() as stack:
        source: Reference = open_reference(reference, reference_provider, threads, stack)
        inputs = pair_specs(
            "input", source.inputs, model_inputs(graph), source.name, name_of(graph)
        )
        fixed = fixed_batch(source.inputs) or fixed_batch(model_inputs(graph))
        dataset = Dataset.open(data, inputs=source.inputs).take(samples)
        first = next(iter(dataset.batches(fixed or _PROBE_SAMPLES)))
        whole = PartedModel(graph, float_values(graph), provider=provider, threads=threads)
        seen, prints = _probe(source, whole, as_taken(first.feed, source.inputs, fixed), inputs)
        pairs = plausible(graph, join(graph, prints, seen))
        if not pairs:
            raise ModelError(
                f"no value of {name_of(graph)} could be joined with one of {source.name}: they "
                "share neither names nor layer paths; export the model with kilnx convert"
            )
        parted = PartedModel(
            graph, [pair.value for pair in pairs], provider=provider, threads=threads
        )
        walk = _Walk(parted, pairs, quantized=is_quantized(graph))
        count = 0
        for batch in dataset.batches(fixed or samples_per_step):
            feed = as_taken(batch.feed, source.inputs, fixed, source.name)
            walk.start({inputs[name]: values for name, values in feed.items()})
            source.walk(feed, walk.reference_gives)
            walk.finish()
            count += len(batch)
            if progress:
                progress("comparing layers", count, samples)
    left_out = len(prints) - len(pairs)
    notes = [*dataset.notes]
    if left_out:
        notes.append(
            f"{left_out} of {len(prints)} values of the candidate have no partner in the "
            "reference; they are judged together with the value that follows"
        )
    return walk.report(source.name, name_of(graph), count, notes)


class _Walk:
    """The candidate's parts, run as soon as the reference has given what they need."""

    def __init__(self, parted: PartedModel, pairs: Sequence[Pair], *, quantized: bool) -> None:
        self._parted, self._pairs = parted, pairs
        self._quantized = quantized
        self._scales: dict[str, Array] = {}  # of equalized channels, by value
        self._pair_of = {str(pair.value.name): pair for pair in pairs}
        self._dead = parted.last_uses()
        self._sums = [LayerError() for _ in pairs]
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
            transposed = pair.alignment.to_reference(own, expected.shape)
            found = channel_scale(transposed, expected)
            if found is not None:
                self._scales[name] = found
        sums = self._sums[place]
        sums.add(
            expected.astype(np.float64) * self._scales.get(name, _ONE),
            pair.alignment.to_reference(own, expected.shape).astype(np.float64),
            pair.alignment.to_reference(alone, expected.shape).astype(np.float64),
        )
        if not self._quantized and sums.isolated > rounding_limit(sums.peak, sums.noise or 0.0):
            noise = own_noise(
                self._parted.as_model(part, fed), fed, self._rounded(part, fed, alone)
            )
            if noise is not None:
                sums.noise = max(noise, sums.noise or 0.0)

    def _rounded(self, part: Part, fed: Mapping[str, Array], alone: Array) -> Array:
        """The part in float32 by ONNX Runtime: an engine that is wrong does not round more."""
        if self._parted.provider == "cpu":
            return alone
        return self._parted.run_part(part, fed, provider="cpu")[0]

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
            i
            for i, s in enumerate(self._sums)
            if not s.isolated <= rounding_limit(s.peak, s.noise or 0.0)
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


def _parity(pair: Pair, part: Part, sums: LayerError, departs: bool) -> LayerParity:
    peak = sums.peak or 1.0
    return LayerParity(
        layer=_label(part),
        value=str(part.value.name),
        reference=pair.key,
        operators=tuple(n.op_type for n in _running(part) if n.op_type not in QUANTIZING),
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


def _running(part: Part) -> list[ir.Node]:
    """The nodes of a part without those that make a weight of its codes, of constants alone."""
    made: set[ir.Value] = set()
    running = []
    for node in part.nodes:
        inputs = [value for value in node.inputs if value is not None]
        if inputs and all(value in made or is_constant(value) for value in inputs):
            made.update(node.outputs)
        else:
            running.append(node)
    return running


def _label(part: Part) -> str:
    """The layers that a part computes, in order."""
    computing = [node for node in _running(part) if node.op_type not in MOVING]
    return " + ".join(dict.fromkeys(label_of(node) for node in computing or part.nodes[-1:]))


def _probe(
    source: Reference, parted: PartedModel, feed: Feed, inputs: Mapping[str, str]
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
