"""Measurements of a model's speed, size and memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runtimes.engines.placement import Placement
from runtimes.machine_load import MachineLoad
from runtimes.profiling.operators import OperatorsReport
from runtimes.readable import ReadableReport, times


@dataclass(frozen=True)
class Latency:
    """Milliseconds per run over ``runs`` runs; ``throughput`` is in samples per second."""

    runs: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    throughput: float


@dataclass(frozen=True)
class BatchProfile:
    """Measurements at one batch size.

    ``ratio`` is the speed-up: the other model's median latency divided by this model's, averaged
    over several launches, with the 95% interval ``ratio_low`` … ``ratio_high``.
    ``peak_memory_bytes`` is what loading and running the model adds to a process, if requested.
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

    Sizes are file sizes in bytes, external data included; None for a live Keras model. ``load_ms``
    and ``first_run_ms`` are medians over the launches, None for a model that is not loaded again.
    ``settings`` are the conditions of the measurement, such as threads and cores, and the overhead
    of timing itself per run (``overhead_us``). ``operators`` is set if it was requested, on ONNX
    Runtime. ``load``: what else kept the machine busy meanwhile. ``placement``: where the model's
    nodes ran and, where the engine tells it, in which precision each layer.
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
    load: MachineLoad = field(default_factory=MachineLoad)
    placement: Placement | None = None

    def faster(self, margin: float = 0.0) -> bool:
        """Whether the model is significantly faster by more than ``margin`` at every batch size.

        Significantly: the lower end of the interval of the speed-up is above 1 + margin.
        """
        self._require_against()
        return all(b.ratio_low is not None and b.ratio_low > 1 + margin for b in self.batches)

    def slower(self, margin: float = 0.0) -> bool:
        """Whether the model is significantly slower by more than ``margin`` at any batch size.

        Significantly: the upper end of the interval of the speed-up is below 1 / (1 + margin).
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
        """One row of formatted cells per batch size and model, for a table."""
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

    def layer_rows(self) -> list[dict[str, str]]:
        """One row per layer of an engine that tells in which precision its layers run."""
        return [
            {"layer": one.layer, "operator": one.op_type, "precision": one.precision}
            for one in (self.placement.layers if self.placement else ())
        ]

    def _require_against(self) -> None:
        if self.against is None:
            raise ValueError("the model was not measured against another one")


# How much slower a step may be that makes the model smaller but not faster, as a ratio of medians.
# Smaller differences cannot be resolved by interleaved runs on a shared machine.
NOISE_MARGIN = 0.02
