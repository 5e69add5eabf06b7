"""What ``compress`` found, for machines (JSON) and for people (HTML)."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from converter.report.analysis import Insight


def describe_machine() -> dict[str, Any]:
    """What the figures were measured on: processor, cores, system and package versions."""
    packages = ("onnxruntime", "onnxruntime-gpu", "onnx", "onnx-ir", "tf2onnx", "keras")
    versions = {}
    for name in (*packages, "tensorflow", "numpy"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": versions,
    }


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


@dataclass(frozen=True)
class Measured:
    """A model as it was measured: size in bytes, median latency of one run in milliseconds.

    ``metric`` is the labelled metric, ``agreement`` the share of samples on which the model's
    largest output is the reference's; ``None`` where it means nothing. ``sqnr_db`` is against the
    reference, ``speedup`` the ratio of the reference's median latency to this one's,
    from interleaved runs, with its 95% interval.
    """

    size_bytes: int
    latency_ms: float | None
    metric: float | None = None
    agreement: float | None = None
    sqnr_db: float | None = None
    speedup: float | None = None
    speedup_low: float | None = None
    speedup_high: float | None = None


@dataclass(frozen=True)
class StepReport:
    """One step of the pipeline: what it would have given, and why it was kept or not.

    Where there was nothing to try, ``tried`` is false and ``measured`` is the model before.
    """

    name: str
    kept: bool
    reason: str
    measured: Measured
    tried: bool = True
    details: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, the measurement side by side with the decision."""
        own = {
            "name": self.name,
            "tried": self.tried,
            "kept": self.kept,
            "reason": self.reason,
        }
        return {**own, **asdict(self.measured), "details": self.details}


@dataclass(frozen=True)
class Report:
    """The whole run of ``compress``; ``to_dict`` is the format of ``report.json``."""

    source: str
    metric_name: str | None
    max_drop: float
    min_agreement: float
    min_sqnr_db: float
    threads: int
    baseline: Measured
    steps: tuple[StepReport, ...]
    result: Measured
    notes: tuple[str, ...] = ()
    insight: Insight | None = None
    machine: dict[str, Any] = field(default_factory=describe_machine)
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "kilnx": own_version(),
            "created": self.created,
            "source": self.source,
            "machine": self.machine,
            "threads": self.threads,
            "metric": {
                "name": self.metric_name,
                "max_drop": self.max_drop,
                "min_agreement": self.min_agreement,
                "min_sqnr_db": self.min_sqnr_db,
            },
            "baseline": asdict(self.baseline),
            "steps": [step.to_dict() for step in self.steps],
            "result": asdict(self.result),
            "notes": list(self.notes),
            "insight": self.insight.to_dict() if self.insight else None,
        }

    def to_json(self) -> str:
        """``to_dict`` as indented JSON."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n"


def own_version() -> str:
    """The version of kilnx that runs."""
    try:
        return version("kilnx")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "0+unknown"
