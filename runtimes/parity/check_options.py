"""How models are compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from runtimes.engines.elsewhere import Elsewhere
from runtimes.engines.ort import Optimization
from runtimes.parity.comparison import Comparison
from runtimes.parity.stressed import Stressed
from runtimes.progress import Progress
from runtimes.targets import Target


class Spread(Protocol):
    """Compares samples shard by shard."""

    @property
    def far(self) -> bool:
        """Whether models have to be sent to other machines."""
        ...

    def __call__(self, found: Comparison, work: Any, tell: Progress) -> tuple[str, ...]:
        """Let ``found`` absorb all shards of ``work``, a ``runtimes.parity.shards.work.Work``.

        Gives what the user should know.
        """
        ...


@dataclass(frozen=True)
class CheckOptions:
    """How ``check`` compares, besides what loss is acceptable.

    Attributes:
        providers: Where the candidate runs, each against the reference.
        optimizations: ONNX Runtime's levels that the candidate runs at: ``disabled``, ``basic``,
            ``extended``, ``all``.
        allow_fallback: Whether nodes may run elsewhere than on the provider that was asked for.
        rtol: Relative tolerance: each element within ``atol + rtol * |reference|``.
        atol: Absolute tolerance, likewise.
        batch_size: Samples that are run at a time, or as many as hold 4 MB of inputs.
        layers: Whether the models are also walked in step, to name the layer that departs.
        stressed: What the reference does on perturbed samples, where an earlier check found out.
        target: The runtime that the candidate ships on, by name, in place of ``providers``.
        device: Where the candidate runs in place of this machine: a ``runtimes.Device``.
        spread: Who compares the samples, shard by shard, in place of this process:
            ``runtimes.Workers``, or the files of shards, ``runtimes.CompareFiles``.
    """

    providers: Sequence[str] = ("cpu",)
    optimizations: Sequence[Optimization] = ("all",)
    allow_fallback: bool = False
    rtol: float | None = None
    atol: float | None = None
    batch_size: int = 32
    layers: bool = False
    stressed: Stressed | None = None
    target: Target | str | None = None
    device: Elsewhere | None = None
    spread: Spread | None = None
