"""What the monitor's thread does with the requests that it takes: run, measure, test."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from time import thread_time
from typing import Any

import numpy as np

from runtimes.base import Array
from runtimes.monitor.layout import Group
from runtimes.monitor.observer import Watched
from runtimes.monitor.probe import Probe
from runtimes.monitor.sample_queue import Sample
from runtimes.monitor.seen import Seen
from runtimes.monitor.shadow_sums import ShadowSums

Measured = tuple[Group, Array]
"""A group and the shares of some requests, for its test."""

RunFp32 = Callable[[dict[str, Any]], Mapping[str, Array]]


class Examiner:
    """The tests of a model, and the two models that the monitor runs for them."""

    def __init__(
        self,
        watched: Mapping[Group, Watched],
        probe: Probe | None,
        run_fp32: RunFp32 | None,
        sums: ShadowSums,
    ) -> None:
        self._watched, self._probe, self._run_fp32 = watched, probe, run_fp32
        self._sums = sums
        self.runs_models = bool(
            ("saturation" in watched and probe) or ("shadow" in watched and run_fp32)
        )

    def statistics(self, samples: Sequence[Sample], *, answers: bool = True) -> list[Measured]:
        """What costs little: inputs, and answers where they are wanted or all that is watched."""
        found: list[Measured] = []
        cheap: tuple[Group, ...] = ("inputs",)
        if answers or "inputs" not in self._watched:
            cheap = ("inputs", "outputs")
        for _, alike in itertools.groupby(samples, key=lambda one: one.kind):
            same = list(alike)
            outputs = None if same[0].by_fp32 else _joined([_answers(one) for one in same])
            inputs = _joined([_by_sample(one) for one in same])
            found += self._measure(Seen(inputs, outputs), _starts(same), cheap)
        return found

    def models(self, samples: Sequence[Sample]) -> list[Measured]:
        """What costs runs of the models: saturation and the shadow."""
        runs = [(one, seen) for one in samples if (seen := self._run(one)) is not None]
        found: list[Measured] = []
        for _, alike in itertools.groupby(runs, key=lambda pair: pair[0].kind):
            same = list(alike)
            groups: tuple[Group, ...] = ("saturation", "shadow")
            if same[0][0].by_fp32:  # the compressed model answered here only
                groups = ("outputs", *groups)
            seen = _side_by_side([(one.rows, seen) for one, seen in same])
            found += self._measure(seen, _starts([one for one, _ in same]), groups)
        return found

    def _run(self, sample: Sample) -> Seen | None:
        """The compressed model's answers, its saturation, and fp32's answers."""
        ends, outputs, expected = None, sample.outputs, None
        needs_probe = sample.by_fp32 or "saturation" in self._watched
        try:
            if self._probe is not None and needs_probe:
                probed = self._probe.run(dict(sample.inputs))
                ends = probed.ends if probed.ends.size else None
                outputs = probed.outputs if sample.by_fp32 else outputs
            elif sample.by_fp32:
                return None
            expected = sample.outputs if sample.by_fp32 else self._expected(sample)
        except Exception as error:
            self._sums.failed(error)
            return None
        if expected is not None:
            self._sums.add(expected, outputs)
        return Seen(sample.inputs, outputs, ends, expected)

    def _expected(self, sample: Sample) -> Mapping[str, Array] | None:
        if self._run_fp32 is None or "shadow" not in self._watched:
            return None
        begun = thread_time()
        expected = self._run_fp32(dict(sample.inputs))
        self._sums.took(thread_time() - begun, by_fp32=True)
        return expected

    def _measure(self, seen: Seen, starts: Array, groups: Sequence[Group]) -> list[Measured]:
        found = []
        for group in groups:
            shares = self._watched[group].measure(seen, starts) if group in self._watched else None
            if shares is not None:
                found.append((group, shares))
        return found


def _by_sample(sample: Sample) -> dict[str, Array]:
    """Inputs with samples first; what is one value for the whole request is repeated."""
    return {
        name: one if one.ndim else np.repeat(one, sample.rows)
        for name, one in sample.inputs.items()
    }


def _side_by_side(parts: Sequence[tuple[int, Seen]]) -> Seen:
    """What was seen of several requests of one kind, as far as it has samples first."""
    seen = [part for _, part in parts]
    outputs = [_with_rows(part.outputs or {}, rows) for rows, part in parts]
    expected = [_with_rows(part.fp32 or {}, rows) for rows, part in parts]
    ends = [part.ends for part in seen if part.ends is not None]
    return Seen(
        {},
        _joined(outputs),
        np.concatenate(ends) if len(ends) == len(seen) else None,
        None if any(part.fp32 is None for part in seen) else _joined(expected),
    )


def _answers(sample: Sample) -> dict[str, Array]:
    """The outputs that have the samples first."""
    return _with_rows(sample.outputs, sample.rows)


def _with_rows(arrays: Mapping[str, Array], rows: int) -> dict[str, Array]:
    return {name: one for name, one in arrays.items() if one.shape[:1] == (rows,)}


def _joined(parts: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    if len(parts) == 1:
        return dict(parts[0])
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _starts(samples: Sequence[Sample]) -> Array:
    """Where the first sample of each request stands."""
    return np.cumsum([0, *(one.rows for one in samples[:-1])])


def in_steps(samples: Sequence[Sample], size: int) -> Iterator[Sequence[Sample]]:
    """The samples in their order, so many at a time."""
    for start in range(0, len(samples), size):
        yield samples[start : start + size]
