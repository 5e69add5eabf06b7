"""The candidate on one provider, compared with the reference batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from runtimes.base import Array, Feed, TensorSpec
from runtimes.data.batches import Batch
from runtimes.engines.batching import run_padded
from runtimes.engines.runtime import Runtime
from runtimes.metrics.confidence import samples_needed
from runtimes.metrics.metric import Metric, drop, drop_uncertainty
from runtimes.parity.detection_heads import HeadsAccumulator
from runtimes.parity.match_tensors import pair_specs
from runtimes.parity.output_error import OutputParity, ParityAccumulator
from runtimes.parity.verdict import MetricParity


class Described(Protocol):
    """A model by its name, inputs and outputs."""

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


class Candidate:
    """The candidate on one provider, and what has been found about it."""

    def __init__(self, provider: str, runtime: Runtime) -> None:
        self.provider = provider
        self.runtime = runtime
        self.parity: dict[str, ParityAccumulator] = {}
        self._heads = HeadsAccumulator()
        self.metrics: Sequence[Metric] = ()
        self._inputs: Mapping[str, str] = {}
        self._outputs: Mapping[str, str] = {}

    def match(self, reference: Described) -> Iterator[str]:
        """Pair inputs and outputs with the reference's; yields what the user should know."""
        for kind, wanted, found in (
            ("input", reference.inputs, self.runtime.inputs),
            ("output", reference.outputs, self.runtime.outputs),
        ):
            pairs = pair_specs(kind, wanted, found, reference.name, self.runtime.name)
            if kind == "input":
                self._inputs = pairs
            else:
                self._outputs = pairs
            if any(ours != theirs for ours, theirs in pairs.items()):
                yield f"{kind}s matched by position: " + ", ".join(
                    f"{ours!r} is {theirs!r}" for ours, theirs in pairs.items() if ours != theirs
                )
            surplus = [spec.name for spec in found if spec.name not in pairs.values()]
            if surplus:
                yield f"{kind}s of the candidate that the reference lacks: {', '.join(surplus)}"

    def start(self, outputs: Sequence[str], rtol: float | None, atol: float | None) -> None:
        """Begin to compare the reference's ``outputs``."""
        self._heads = HeadsAccumulator()
        self.parity = {
            name: ParityAccumulator(name, self.provider, rtol=rtol, atol=atol) for name in outputs
        }

    def open(self, expected: Mapping[str, Array]) -> None:
        """Look at the reference's outputs of the first batch, which say what all of them hold."""
        for name, accumulator in self.parity.items():
            accumulator.open(expected[name])
        self._heads.open(expected)

    def state(self) -> dict[str, Any]:
        """What was found so far, a tree of plain values and arrays, for ``absorb``."""
        return {
            "parity": {name: one.state() for name, one in self.parity.items()},
            "heads": self._heads.state(),
            "metrics": [metric.state() for metric in self.metrics],
        }

    def absorb(self, state: Mapping[str, Any]) -> None:
        """Add what another one found in batches that come later; both were opened alike."""
        comparable = not any(one.problem for one in self.parity.values())
        if comparable:  # as in ``update``
            self._heads.absorb(HeadsAccumulator.restored(state["heads"]))
            for metric, other in zip(self.metrics, state["metrics"], strict=True):
                metric.absorb(other)
        for name, accumulator in self.parity.items():
            later = ParityAccumulator(name, self.provider)
            later.restore(state["parity"][name])
            accumulator.absorb(later)

    def renamed(self, feed: Feed) -> Feed:
        """The reference's inputs under the candidate's names."""
        return {self._inputs[name]: values for name, values in feed.items()}

    def update(self, expected: Mapping[str, Array], batch: Batch) -> dict[str, Array | None]:
        """Run a batch and compare; the largest error of each sample by output."""
        raw = run_padded(self.runtime, self.renamed(batch.feed), list(self._outputs.values()))
        found = {ours: raw[theirs] for ours, theirs in self._outputs.items()}
        errors = {
            name: accumulator.update(expected[name], found[name], batch.indices)
            for name, accumulator in self.parity.items()
        }
        # A metric of outputs that cannot be compared means nothing; the verdict names them.
        comparable = not any(one.problem for one in self.parity.values())
        if comparable:
            self._heads.update(expected, found)
        for metric in self.metrics if comparable else ():
            metric.update(found, batch.labels, batch.indices)
        return errors

    def results(self) -> tuple[OutputParity, ...]:
        """What has been found about each output."""
        return self._heads.judged(one.result() for one in self.parity.values())


def compare_metrics(
    references: Sequence[Metric],
    others: Sequence[Candidate],
    allowed: Callable[[str], float | None],
    samples: int,
    seed: int,
) -> tuple[MetricParity, ...]:
    """How much worse each of ``others`` is by each of ``references``, and how sure that is.

    ``allowed``: the drop that is acceptable of a metric, by its name.
    """
    metrics = []
    for place, reference in enumerate(references):
        value = reference.value()
        for other in others:
            if any(one.problem for one in other.parity.values()):
                continue
            found = _compared(
                reference,
                other.metrics[place],
                value,
                allowed(reference.name),
                (samples, seed),
            )
            metrics.append(replace(found, provider=other.provider))
    return tuple(metrics)


def _compared(
    reference: Metric,
    other: Metric,
    value: float,
    allowed: float | None,
    drawn: tuple[int, int],
) -> MetricParity:
    """A metric of both models; ``value``: of the reference, ``drawn``: samples and seed."""
    samples, seed = drawn
    found = other.value()
    lost = drop(value, found, higher_is_better=reference.higher_is_better)
    parity = MetricParity(
        reference.name,
        "",
        value,
        found,
        lost,
        samples,
        output=reference.output,
        higher_is_better=reference.higher_is_better,
    )
    sure = drop_uncertainty(reference, other, samples, seed)
    if sure is None:
        return parity
    needed = None
    if allowed is not None:
        needed = samples_needed(lost, sure.low, sure.high, allowed, samples)
    return replace(
        parity,
        low=sure.low,
        high=sure.high,
        method=sure.method,
        p_value=sure.p_value,
        needed=needed,
    )
