"""What a run reads whose latency is asked for: samples at the batch sizes that a model takes."""

from __future__ import annotations

from collections.abc import Sequence

from runtimes.base import Feed, TensorSpec
from runtimes.data.dataset import Dataset
from runtimes.data.timing_inputs import sampled_inputs
from runtimes.engines.batching import fixed_batch


def timed_feeds(
    data: Dataset, inputs: Sequence[TensorSpec], batches: Sequence[int] = (1,)
) -> list[Feed]:
    """The first samples of ``data`` at each of ``batches``, or at the one that ``inputs`` fix."""
    fixed = fixed_batch(inputs)
    sizes = batches if fixed is None else (fixed,)
    return [sampled_inputs(data, inputs, size).feed for size in sizes]
