"""Data next to a reference, offline: the same tests, in the order of the samples."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from runtimes.base import TensorSpec
from runtimes.data.dataset import Dataset
from runtimes.engines.batching import run_padded
from runtimes.engines.open_runtime import open_runtime
from runtimes.engines.ort import NO_SPINNING
from runtimes.errors import DataError
from runtimes.monitor.drift_report import DriftReport, GroupDrift
from runtimes.monitor.observer import Watched, watch
from runtimes.monitor.policy import Policy
from runtimes.monitor.probe import Probe
from runtimes.monitor.reference import Reference
from runtimes.monitor.seen import Seen
from runtimes.progress import Progress, silent

_STEP = 4
_BATCH = 32


def drift(
    reference: Reference | str | os.PathLike[str],
    data: Any,
    *,
    model: str | os.PathLike[str] | None = None,
    fp32: str | os.PathLike[str] | None = None,
    policy: Policy = Policy(),
    progress: Progress = silent,
) -> DriftReport:
    """Whether ``data`` still look like the reference, and the model on them.

    Args:
        reference: From ``make_reference``, or its file.
        data: What ``Dataset.open`` takes. Its order is that of time: a drift that begins late is
            found with the sample since which it lasts.
        model: The ONNX file that serves; None: only inputs are tested.
        fp32: The file that it was made from; None: no shadow.
        policy: Tolerances and the probability of a false alarm.
        progress: Told how far it is.

    Returns:
        A report for each group that could be tested.

    Raises:
        DataError: The reference cannot be used, or the data do not fit.
        ModelError: A file is no model.

    Example:
        >>> drift(make_reference("model.onnx", None, "samples.npz"), "samples.npz").passed
        True
    """
    reference = read(reference)
    watched = watch(reference, policy)
    counted = dict.fromkeys(watched, 0)
    name = ""
    with ExitStack() as stack:
        runs = _Runs(stack, model, fp32)
        samples = _opened(data, runs.inputs, reference)
        name = samples.name
        for seen in runs.over(samples):
            rows = len(next(iter(seen.inputs.values())))
            for group, one in watched.items():
                counted[group] += _tested(one, seen, rows)
            progress("testing", max(counted.values(), default=0), samples.num_samples)
    found = [GroupDrift(group, one.to_dict()) for group, one in watched.items() if counted[group]]
    if not found:
        raise DataError(
            f"nothing of the reference could be compared with {name}: its inputs have other names"
        )
    untested = tuple(group for group in watched if not counted[group])
    return DriftReport(name, max(counted.values()), policy.alpha, tuple(found), untested)


def read(reference: Reference | str | os.PathLike[str]) -> Reference:
    """The reference itself, or that of a file."""
    if isinstance(reference, Reference):
        return reference
    try:
        text = Path(reference).read_bytes()
    except OSError as error:
        raise DataError(f"{reference} cannot be read: {error.strerror or error}") from error
    return Reference.from_json(text)


class _Runs:
    """The models that are there, over the batches of a dataset."""

    def __init__(self, stack: ExitStack, model: Any, fp32: Any) -> None:
        self._probe = None if model is None else stack.enter_context(Probe(model))
        self._fp32 = None
        if fp32 is not None and self._probe is not None:
            self._fp32 = stack.enter_context(open_runtime(fp32, threads=1, config=NO_SPINNING))
        self.inputs = None if self._probe is None else self._probe.inputs
        sizes = [spec.shape[0] for spec in self.inputs or () if spec.shape]
        self._batch = min([_BATCH, *(size for size in sizes if isinstance(size, int))])

    def over(self, samples: Dataset) -> Iterator[Seen]:
        """What is seen of each batch."""
        for batch in samples.batches(self._batch):
            if self._probe is None:
                yield Seen(batch.feed)
                continue
            probed = self._probe.run(batch.feed)
            expected = None if self._fp32 is None else run_padded(self._fp32, batch.feed)
            ends = probed.ends if probed.ends.size else None
            yield Seen(batch.feed, probed.outputs, ends, expected)


def _opened(data: Any, inputs: tuple[TensorSpec, ...] | None, reference: Reference) -> Dataset:
    """The data bound to the model; without one, a single array gets the name in the reference."""
    samples = Dataset.open(data, inputs=inputs)
    names = {block.tensor for block, _ in reference.blocks(["inputs"])}
    only = len(samples.input_names) == len(names) == 1
    if inputs is not None or not only or set(samples.input_names) == names:
        return samples
    (old,), (new,) = samples.input_names, names
    return samples.changed(lambda batch: replace(batch, feed={new: batch.feed[old]}))


def _tested(watched: Watched, seen: Seen, rows: int) -> int:
    """Give a batch to a test, a few samples at a time; how many samples it took."""
    shares = watched.measure(seen, np.arange(rows))
    if shares is None:
        return 0
    for start in range(0, len(shares), _STEP):
        watched.test.update(shares[start : start + _STEP])
    return len(shares)
