"""``run``: what a model answers to samples, with nothing but the core and an engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from converter.packaging.parts import is_bundle, refuse_key
from converter.packaging.staged import is_staged
from runtimes.base import Array
from runtimes.bundle.bundle import Bundle
from runtimes.data.dataset import Dataset
from runtimes.engines.batching import fixed_batch, run_padded
from runtimes.engines.open_runtime import open_runtime
from runtimes.engines.runtime import Runtime
from runtimes.errors import DataError
from runtimes.progress import Progress, silent
from runtimes.stages.manifest import read_manifest
from runtimes.stages.staged import StagedRuntime
from runtimes.targets import find_target


@dataclass(frozen=True)
class Answers:
    """Outputs by name, in the order of the samples; ``labels`` are the names of classes."""

    model: str
    version: str
    samples: int
    outputs: Mapping[str, Array]
    labels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def answers(  # noqa: PLR0917
    model: Path,
    data: Any,
    provider: str | None = None,
    threads: int = 1,
    batch_size: int = 32,
    public_key: str | None = None,
    progress: Progress = silent,
) -> Answers:
    """Run a bundle, an ONNX file or a folder of stages over samples; ``labels`` are passed over.

    Without a ``provider``, a bundle runs where it was proven: in the engine of its target.

    Raises:
        DataError: The data do not fit, or answers of several shapes cannot stand in one array.
        ModelError: The model cannot be read, or fails.
        BundleError: The bundle is not what its manifest says.
        RuntimeUnavailable: There is no such provider.
    """
    with ExitStack() as held:
        bundle = None
        if is_bundle(model):
            progress("verifying the bundle")
            bundle = held.enter_context(Bundle.open(model, public_key=public_key))
        else:
            refuse_key(model, public_key)
        runtime = held.enter_context(_opened(model, bundle, provider, threads))
        progress("running")
        samples = Dataset.open(data, inputs=runtime.inputs).without_labels()
        outputs, count = _run(runtime, samples, batch_size)
        notes = (*samples.notes, *(() if bundle is None else bundle.notes))
        if bundle is None:
            return Answers(str(model), "", count, outputs, (), notes)
        return Answers(bundle.name, bundle.version, count, outputs, bundle.labels, notes)


def _opened(model: Path, bundle: Bundle | None, provider: str | None, threads: int) -> Runtime:
    """The model, or its stages: on their devices, unless a provider is named."""
    stages = bundle.stages if bundle is not None else model if is_staged(model) else None
    if stages is not None:
        if provider not in (None, "cpu"):
            raise DataError("stages run on their own devices, or on the CPU; leave out --provider")
        servers = read_manifest(stages, verify=False).servers
        if servers and bundle is not None and provider is None:
            raise DataError(
                f"{model} has stages on {', '.join(servers)}, where samples would go; run all of "
                "them here with --provider cpu"
            )
        return StagedRuntime(stages, threads=threads, on_devices=provider is None)
    path = model if bundle is None else bundle.model
    if provider is None:
        provider = "cpu" if bundle is None else find_target(bundle.target).engine
    return open_runtime(path, provider, threads=threads)


def _run(runtime: Runtime, samples: Dataset, batch_size: int) -> tuple[dict[str, Array], int]:
    """The outputs of all samples, in their order."""
    found: list[Mapping[str, Array]] = []
    positions: list[Array] = []
    for batch in samples.batches(fixed_batch(runtime.inputs, runtime.name) or batch_size):
        outputs = run_padded(runtime, batch.feed)
        _require_samples(outputs, len(batch))
        found.append(outputs)
        positions.append(batch.indices)
    order = np.argsort(np.concatenate(positions))
    names = [spec.name for spec in runtime.outputs]
    return {name: _joined(name, [one[name] for one in found])[order] for name in names}, len(order)


def _require_samples(outputs: Mapping[str, Array], count: int) -> None:
    for name, values in outputs.items():
        if values.shape[:1] != (count,):
            raise DataError(
                f"the output {name!r} is {list(values.shape)} for {count} samples, so no part of "
                "it belongs to one; give one sample at a time, with --batch-size 1, if it has one "
                "row for each"
            )


def _joined(name: str, pieces: Sequence[Array]) -> Array:
    shapes = {piece.shape[1:] for piece in pieces}
    if len(shapes) > 1:
        raise DataError(
            f"the output {name!r} has several shapes ({', '.join(map(str, sorted(shapes)))}), "
            "which one array cannot hold; give samples of one size at a time"
        )
    return np.concatenate(pieces)
