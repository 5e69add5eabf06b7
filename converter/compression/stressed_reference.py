"""The float model that candidates are held against, on samples as they are and perturbed."""

from __future__ import annotations

import onnx_ir as ir

from runtimes.data.dataset import Dataset
from runtimes.engines.ort import NO_SPINNING
from runtimes.engines.remembering import RememberingRuntime
from runtimes.options import RunOptions
from runtimes.parity.budget import Budget
from runtimes.parity.stressed import Stressed


def stressed_reference(
    reference: ir.Model, evaluation: Dataset, budget: Budget, run: RunOptions
) -> Stressed:
    """``reference`` under the perturbations that it bears; it runs once for all candidates."""
    whole = RememberingRuntime(reference, threads=run.threads, config=NO_SPINNING)
    return Stressed(whole, evaluation, budget, run.seed, run.threads)
