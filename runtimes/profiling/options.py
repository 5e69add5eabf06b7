"""What ``profile`` measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from runtimes.engines.elsewhere import Elsewhere
from runtimes.engines.of_target import check_file, chosen_target
from runtimes.options import RunOptions
from runtimes.targets import Target


@dataclass(frozen=True)
class ProfileOptions:
    """What ``profile`` measures.

    Attributes:
        provider: Execution provider to measure on.
        batch: Batch sizes.
        data: What ``Dataset.open`` takes; its first samples are the inputs. None: random numbers.
        memory: Whether to measure peak memory too, with a separate process for each model file.
        operators: Whether to break the time down by operator, at the first batch size.
        allow_fallback: Whether nodes may run on a provider other than ``provider``.
        min_time: Seconds for which each batch size is timed.
        max_time: Most seconds per batch size, for slow models or a busy machine.
        target: The runtime that the model ships on, by name, in place of ``provider``.
        device: Where to measure in place of this machine: a ``runtimes.Device``.
    """

    provider: str = "cpu"
    batch: Sequence[int] = (1,)
    data: Any = None
    memory: bool = False
    operators: bool = False
    allow_fallback: bool = False
    min_time: float = 1.0
    max_time: float = 10.0
    target: Target | str | None = None
    device: Elsewhere | None = None


def on_target(options: ProfileOptions, model: Any) -> tuple[ProfileOptions, tuple[str, ...]]:
    """The options with the provider that measures for their target, and what to say of it."""
    target = chosen_target(options.target, providers=(options.provider,))
    check_file(model, target)
    if target.is_default:
        return options, ()
    return replace(options, provider=target.clock), target.notes


def thread_counts(threads: int | Sequence[int], run: RunOptions) -> list[int]:
    """The numbers of threads to time at: those given, or else that of the run."""
    if isinstance(threads, Sequence):
        return list(threads)
    return [run.threads if threads == 1 else threads]
