"""Whether the stages of a model answer like the whole; a large one is in memory once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from runtimes.atomic_files import file_digest
from runtimes.base import Array
from runtimes.data.dataset import Dataset
from runtimes.data.timing_inputs import sampled_inputs
from runtimes.engines.batching import fixed_batch
from runtimes.engines.open_runtime import open_runtime
from runtimes.engines.ort import NO_SPINNING
from runtimes.errors import ModelError
from runtimes.onnx_files.external_data import ONE_FILE_BYTES
from runtimes.onnx_files.load_save import ModelSource
from runtimes.options import RunOptions
from runtimes.parity.check import check
from runtimes.parity.error_sums import decibels
from runtimes.stages.manifest import Stages
from runtimes.stages.proof import PROOF, SAMPLES, write_proof
from runtimes.stages.staged import StagedRuntime

# Rounding of single precision is 100 dB and more below; of half precision, 60 dB.
_MIN_SQNR_DB = 60.0


def prove(
    model: ModelSource, folder: Path, stages: Stages, samples: Dataset, run: RunOptions
) -> str | None:
    """Compare the stages in ``folder`` with ``model``, and keep what it answered.

    A model that one file cannot hold is not opened together with its stages: it answers a few
    samples, is closed, and then the stages answer the same. Others are judged by parity on all
    samples, those that are cut exactly bit by bit.

    Returns:
        The digest of ``proof.npz``; None where there is none.

    Raises:
        ModelError: The stages would not answer like the whole model.
    """
    run.tell("proving the stages")
    with open_runtime(model, threads=run.threads, config=NO_SPINNING) as whole:
        size = fixed_batch(whole.inputs) or SAMPLES
        feed = sampled_inputs(samples, whole.inputs, size).feed
        expected = whole.run(feed)
    large = sum(stage.weight_bytes for stage in stages.stages) > ONE_FILE_BYTES
    with StagedRuntime(folder, threads=run.threads) as staged:
        found = staged.run(feed)
        if stages.exact is not None:
            _require_equal(expected, found)
        elif large:
            _require_near(expected, found)
        else:
            report = check(
                model, staged, samples, stress="none", threads=run.threads, seed=run.seed
            )
            if not report.passed:
                raise ModelError(f"the stages do not answer like the whole model: {report.reason}")
    return file_digest(folder / PROOF) if write_proof(folder, feed, expected) else None


def _require_equal(expected: Mapping[str, Array], found: Mapping[str, Array]) -> None:
    for name, array in expected.items():
        if not np.array_equal(array, found[name], equal_nan=array.dtype.kind in "fc"):
            raise ModelError(
                f"the stages give other bits for the output {name!r} than the whole model; "
                "cut it without exact"
            )


def _require_near(expected: Mapping[str, Array], found: Mapping[str, Array]) -> None:
    for name, array in expected.items():
        other = found[name]
        if array.shape != other.shape or array.dtype.kind not in "fc":
            near = np.array_equal(array, other)
        else:
            wide = array.astype(np.float64)
            noise = float(np.sum((other.astype(np.float64) - wide) ** 2))
            near = noise == 0 or decibels(float(np.sum(wide**2)), noise) >= _MIN_SQNR_DB
        if not near:
            raise ModelError(
                f"the stages do not answer like the whole model: their output {name!r} is less "
                f"than {_MIN_SQNR_DB:g} dB above the difference"
            )
