"""Options of training."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DistillOptions:
    """How long and how fast a graph learns.

    Attributes:
        steps: Batches that are learned from.
        batch_size: Samples in each; fewer where each of them holds thousands of answers.
        rate: The largest step of Adam, as a share of each parameter's root mean square; a student
            that is nearly right takes smaller ones.
        pool: Samples that are made of the data at a time; fewer with smaller batches.
        classes: Outputs whose largest value along the last axis is the answer.
        seed: Of all draws.
        threads: Of a run of the teacher; TensorFlow's are set where it has not begun yet.
        keep_best: Whether Ctrl-C ends the training with the best so far, rather than the program.
    """

    steps: int = 1000
    batch_size: int = 64
    rate: float = 0.05
    pool: int = 4096
    classes: frozenset[str] = frozenset()
    seed: int = 0
    threads: int = 1
    keep_best: bool = False
