"""How many samples a step learns from: fewer where a single sample holds thousands of answers.

Every pixel of a segmentation is an answer, and what a step costs goes with the samples. A U-Net of
64×64 pixels that was cut to a seventieth of its multiply-adds came as near to its teacher with 16
samples a step as with 64, in a third of the time; with 8 it did not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import onnx_ir as ir

from quantizers.training.options import DistillOptions
from runtimes.data.dataset import Dataset
from runtimes.engines.batching import run_padded
from runtimes.engines.ort import OrtRuntime

# So many answers are enough for a step; no fewer samples, which differ more than their pixels do.
_ANSWERS = 65_536
_LEAST = 16


def suited_to(options: DistillOptions, teacher: ir.Model, data: Dataset) -> DistillOptions:
    """``options`` with as many samples in a batch, and in a pool, as the outputs ask for.

    The output that has the fewest answers to a sample counts.
    """
    batch = next(iter(data.batches(1)))
    with OrtRuntime(teacher, threads=options.threads) as runtime:
        found = run_padded(runtime, batch.feed)
    answers = min(answers_in(array.shape[1:]) for array in found.values())
    size = min(options.batch_size, max(_LEAST, _ANSWERS // answers))
    pool = options.pool * size // options.batch_size
    return replace(options, batch_size=size, pool=pool)


def answers_in(shape: Sequence[int]) -> int:
    """Places that a sample's output of this ``shape`` tells something about.

    The shortest axis is not counted: it holds classes or colours, wherever it stands.
    """
    return max(1, math.prod(shape) // max(1, min(shape, default=1)))
