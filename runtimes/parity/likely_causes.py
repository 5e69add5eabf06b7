"""Where a model fails in an engine: whether that engine is known to be wrong on its operators."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from runtimes.data.dataset import Dataset
from runtimes.engines.batching import as_taken, fixed_batch
from runtimes.engines.fixed_sizes import sizes_of
from runtimes.engines.known_faults import KnownFault, has_known_faults, known_faults
from runtimes.engines.recorded_sizes import with_recorded_sizes
from runtimes.keras_models.signature import LiveModel
from runtimes.onnx_files.load_save import load_model
from runtimes.parity.candidate import Candidate
from runtimes.parity.layers.report import LayersReport
from runtimes.parity.report import ParityReport
from runtimes.parity.verdict import Rules, judge


@dataclass(frozen=True)
class LikelyCause:
    """A known fault of the engine behind ``provider``, in which the candidate fails."""

    provider: str
    fault: KnownFault


def likely_causes(
    report: ParityReport,
    candidates: Sequence[Candidate],
    samples: Dataset,
    rules: Rules,
    *,
    quantized: bool,
) -> list[LikelyCause]:
    """The known faults of each engine that the candidate fails in and has the operators for.

    Args:
        report: What was found.
        candidates: The candidate in each place where it ran, still open.
        samples: What it ran on: their sizes decide whether a fault applies.
        rules: What the candidate was judged by.
        quantized: Whether it is.
    """
    if report.passed:
        return []
    return [
        LikelyCause(one.provider, fault)
        for one in candidates
        if not _passes(report, one.provider, rules, quantized=quantized)
        for fault in _faults_of(one, samples)
    ]


def with_causes(report: ParityReport, causes: Sequence[LikelyCause]) -> ParityReport:
    """``report`` with a note for each cause, which says so where a layer that departs has it."""
    notes = (_note(cause.fault, cause.provider, report) for cause in causes)
    return replace(report, notes=(*report.notes, *notes))


def _passes(report: ParityReport, label: str, rules: Rules, *, quantized: bool) -> bool:
    outputs = [one for one in report.outputs if one.provider == label]
    metrics = [one for one in report.metrics if one.provider == label]
    return judge(outputs, metrics, rules, quantized=quantized)[0]


def _faults_of(candidate: Candidate, samples: Dataset) -> Iterator[KnownFault]:
    runtime = candidate.runtime
    if isinstance(runtime.source, LiveModel) or not has_known_faults(runtime.placement.asked):
        return
    feed = candidate.renamed(next(iter(samples.batches(1))).feed)
    taken = as_taken(feed, runtime.inputs, fixed_batch(runtime.inputs), runtime.name)
    model = with_recorded_sizes(load_model(runtime.source), sizes_of(taken, runtime.inputs))
    yield from known_faults(model, runtime.placement.asked)


def _note(fault: KnownFault, label: str, report: ParityReport) -> str:
    note = f"likely cause on {label}: {fault}"
    if report.layers is not None and _departs_in(fault, report.layers):
        return f"{note}; it is the layer that departs"
    return note


def _departs_in(fault: KnownFault, layers: LayersReport) -> bool:
    """Whether the layer to blame has a node of the fault, by the path in the node's name."""
    blamed = set((layers.culprit or "").split(" + "))
    return any(node in blamed or node.rpartition("/")[0] in blamed for node in fault.nodes)
