"""What was measured of a model's speed, size and memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runtimes.profiling.operators import OperatorsReport
from runtimes.readable import ReadableReport, times


@dataclass(frozen=True)
class Latency:
    """Latency of one run, milliseconds, over ``runs`` runs; ``throughput`` in samples a second."""

    runs: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    throughput: float


@dataclass(frozen=True)
class BatchProfile:
    """One batch size.

    ``ratio`` is the speed-up over the other model: its median latency over this model's, the mean
    of several launches, with the 95% interval ``ratio_low`` … ``ratio_high``. ``peak_memory_bytes``
    is what loading and running the model adds to a process, where that was asked for.
    """

    batch: int
    model: Latency
    against: Latency | None
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None
    threads: int | None = None
    peak_memory_bytes: int | None = None
    against_peak_memory_bytes: int | None = None


@dataclass(frozen=True)
class ProfileReport(ReadableReport):
    """Latency and size of a model, and of the one it was measured against.

    Sizes are those of the files, external data included, in bytes; None for a live Keras model.
    ``load_ms`` and ``first_run_ms`` are medians over the launches, None for what is not loaded
    anew. ``settings`` are the threads, cores and the rest that the figures hold for, and what
    timing itself costs a run (``overhead_us``). ``operators`` is there where it was asked for.
    """

    model: str
    against: str | None
    provider: str
    threads: int | None
    size_bytes: int | None
    against_size_bytes: int | None
    batches: tuple[BatchProfile, ...]
    notes: tuple[str, ...]
    load_ms: float | None = None
    first_run_ms: float | None = None
    against_load_ms: float | None = None
    against_first_run_ms: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    operators: OperatorsReport | None = None

    def faster(self, margin: float = 0.0) -> bool:
        """Whether the model is surely faster, at every batch size, by more than ``margin``.

        Surely: the lower end of the interval of the speed-up lies above 1 + margin.
        """
        self._require_against()
        return all(b.ratio_low is not None and b.ratio_low > 1 + margin for b in self.batches)

    def slower(self, margin: float = 0.0) -> bool:
        """Whether the model is surely slower, at some batch size, by more than ``margin``.

        Surely: the upper end of the interval of the speed-up lies below 1 / (1 + margin).
        """
        self._require_against()
        return any(
            b.ratio_high is not None and b.ratio_high < 1 / (1 + margin) for b in self.batches
        )

    def headline(self) -> str:
        """The median latency at the first batch size, and the speed-up."""
        first = self.batches[0]
        found = f"{self.model}: {first.model.p50_ms:.3f} ms at batch {first.batch}"
        if first.ratio is None:
            return found
        return f"{found}, {times(first.ratio)} as fast as {self.against}"

    def rows(self) -> list[dict[str, str]]:
        """One row of formatted cells a batch size and model, for a table."""
        rows = []
        for batch in self.batches:
            timed = [(self.model, self.size_bytes, batch.model, batch.ratio)]
            memory = [batch.peak_memory_bytes, batch.against_peak_memory_bytes]
            if batch.against is not None and self.against is not None:
                timed.append((self.against, self.against_size_bytes, batch.against, None))
            for (name, size, latency, ratio), peak in zip(timed, memory, strict=False):
                speed_up = "–"
                if ratio is not None:
                    speed_up = f"{times(ratio)} ({batch.ratio_low:.2f}…{batch.ratio_high:.2f})"
                rows.append(
                    {
                        "model": name,
                        "batch": str(batch.batch),
                        "threads": str(batch.threads or "auto"),
                        "p50": f"{latency.p50_ms:.3f} ms",
                        "p90": f"{latency.p90_ms:.3f} ms",
                        "p99": f"{latency.p99_ms:.3f} ms",
                        "throughput": f"{latency.throughput:.0f}/s",
                        "size": "–" if size is None else f"{size / 1e6:.2f} MB",
                        **({} if peak is None else {"memory": f"{peak / 1e6:.1f} MB"}),
                        "speed-up": speed_up,
                    }
                )
        return rows

    def _require_against(self) -> None:
        if self.against is None:
            raise ValueError("the model was not measured against another one")


# A step that is smaller but not faster may be this much slower at the surest, as a ratio of
# medians: below it, interleaved runs on a shared machine do not tell the two apart.
NOISE_MARGIN = 0.02
