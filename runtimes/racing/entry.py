"""One row of a race: a file in an engine with a number of threads, and what was found of it."""

from __future__ import annotations

from dataclasses import dataclass

from runtimes.parity.verdict import MetricParity


@dataclass(frozen=True)
class Speed:
    """Milliseconds of a run at one batch size, over all launches.

    ``spread`` is half the distance between the slowest and the fastest launch's median, as a share
    of ``p50_ms``; None for a single launch. ``throughput`` is in samples per second.
    """

    batch: int
    runs: int
    p50_ms: float
    p90_ms: float
    spread: float | None
    throughput: float


@dataclass(frozen=True)
class Entry:
    """One file in one engine with a number of threads (None: as many as the engine likes).

    ``refused`` says why the engine does not run the file at all, ``failed`` what ended its timing.
    ``in_budget`` and ``verdict`` are parity's, against the first file in ONNX Runtime on the CPU;
    ``sqnr_db`` and ``agreement`` the lowest of all outputs, ``metrics`` those of the labels.
    ``memory_bytes`` is what engine and model add to the peak of a process that holds Python, NumPy
    and kilnx. ``file_bytes`` counts external data, ``install_bytes`` the engine's own packages.
    None stands for what is not known. ``is_baseline``: the first file on one thread there.
    """

    file: str
    provider: str
    threads: int | None
    quantized: bool = False
    refused: str | None = None
    failed: str | None = None
    in_budget: bool = False
    verdict: str = ""
    sqnr_db: float | None = None
    agreement: float | None = None
    metrics: tuple[MetricParity, ...] = ()
    latency: Speed | None = None
    at_batch: Speed | None = None
    memory_bytes: int | None = None
    load_ms: float | None = None
    first_run_ms: float | None = None
    file_bytes: int = 0
    install_bytes: int | None = None
    version: str | None = None
    is_baseline: bool = False

    @property
    def disk_bytes(self) -> int:
        """File and engine together, as far as they are known."""
        return self.file_bytes + (self.install_bytes or 0)

    @property
    def place(self) -> str:
        """Engine and threads, as tables name them."""
        return self.provider if self.threads is None else f"{self.provider} ×{self.threads}"

    def __str__(self) -> str:
        threads = "" if self.threads is None else f" with {_threads(self.threads)}"
        return f"{self.file} on {self.provider}{threads}"


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"
