"""Whether a model can be asked about noise at all.

Floats may steer: a length or a position that is no whole number may be an error or no number.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir

from runtimes.data.dataset import Dataset
from runtimes.engines.batching import fixed_batch, run_padded
from runtimes.engines.ort import OrtRuntime
from runtimes.errors import KilnxError
from runtimes.onnx_files.load_save import model_inputs
from runtimes.stress.noise import Noise

_SAMPLES = 32


def bears(model: ir.Model, data: Dataset, noise: Noise, threads: int = 1) -> bool:
    """Whether ``model`` gives finite numbers for noisy samples wherever it does for clean ones."""
    every = replace(noise, share=1.0)
    size = fixed_batch(model_inputs(model)) or _SAMPLES
    batch = next(iter(data.batches(size)))
    with OrtRuntime(model, threads=threads) as runtime:
        clean = run_padded(runtime, batch.feed)
        try:
            noisy = run_padded(runtime, every.on(batch).feed)
        except KilnxError:
            return False
    return all(
        clean[name].shape == array.shape
        and (array.dtype.kind != "f" or bool(np.isfinite(array[np.isfinite(clean[name])]).all()))
        for name, array in noisy.items()
    )
