"""The results of ``compress``, for programs (JSON) and for people (HTML)."""

from __future__ import annotations

import json
import os
import platform
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from converter.report.analysis import Insight
from converter.report.report_name import REPORT_NAME
from runtimes.atomic_files import foreign_files
from runtimes.cpu_info import cpu_info
from runtimes.data.sample_digests import SampleDigests
from runtimes.defects import Defect, contain
from runtimes.json_values import plain
from runtimes.parity.stress_report import StressReport
from runtimes.readable import ReadableReport, times
from runtimes.targets import DEFAULT_TARGET
from runtimes.version import own_version


def describe_machine() -> dict[str, Any]:
    """Where the figures were measured: processor, cores, system and package versions."""
    packages = ("onnxruntime", "onnxruntime-gpu", "onnx", "onnx-ir", "tf2onnx", "keras")
    versions = {}
    for name in (*packages, "tensorflow", "numpy"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "processor": cpu_info().get("model name") or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": versions,
    }


def described_command() -> str:
    """The command line of kilnx; empty where Python called."""
    name, *arguments = sys.argv or [""]
    if Path(name).name not in {"kilnx", "__main__.py"} or "converter" not in sys.modules:
        return ""
    return shlex.join(["kilnx", *arguments])


@dataclass(frozen=True)
class Judged:
    """What the result loses of a metric, with its 95% interval, and what it may lose."""

    metric: str
    drop: float
    low: float | None
    high: float | None
    allowed: float


@dataclass(frozen=True)
class Measured:
    """Measurements of a model: size in bytes, median latency of one run in milliseconds.

    ``metric`` is the metric on labelled data and ``agreement`` the share of samples for which the
    model and the reference have the same top-1 class; ``None`` if it does not apply. ``sqnr_db`` is
    relative to the reference. ``speedup`` is the reference's median latency divided by this one's,
    from interleaved runs, with its 95% interval; without one where the cost table predicts it.
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
    """One step of the pipeline: the measured candidate, and why it was kept or not.

    If there was nothing to try, ``tried`` is false and ``measured`` is the model before the step;
    if the step failed, ``defect`` says how. ``stress``: what the candidate did on perturbed
    samples, None where clean ones refused it.
    """

    name: str
    kept: bool
    reason: str
    measured: Measured
    tried: bool = True
    details: dict[str, Any] = field(default_factory=dict)
    defect: Defect | None = None
    stress: StressReport | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, with the measurement on the same level as the decision."""
        own = {
            "name": self.name,
            "tried": self.tried,
            "kept": self.kept,
            "reason": self.reason,
        }
        more = {"stress": plain(self.stress), "details": self.details}
        return {**own, **asdict(self.measured), **more}


@dataclass(frozen=True)
class Report(ReadableReport):
    """The whole run of ``compress``; ``to_dict`` is the format of ``report.json``.

    ``files``: SHA-256 digests of the files written with the report, by name. ``defects``: what
    failed by a fault of kilnx outside steps and ``insight``, which hold their own. ``costs``: the
    cost table that decided, with a digest of all of it that was asked. ``stress``: the result next
    to fp32 on perturbed samples, None where it is fp32 or where they were not asked for. ``work``:
    what effort and time budget allowed. ``judged``: what the result spends of the budget, by
    metric; ``higher_is_better``: of the first one. ``target``: the runtime that it is for.
    ``calibration``: which samples calibrated, so that others can be told from them.
    """

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
    files: Mapping[str, str] = field(default_factory=dict)
    defects: tuple[Defect, ...] = ()
    costs: Mapping[str, Any] | None = None
    stress: StressReport | None = None
    work: Mapping[str, Any] | None = None
    judged: tuple[Judged, ...] = ()
    higher_is_better: bool = True
    seed: int = 0
    target: str = DEFAULT_TARGET
    calibration: SampleDigests | None = None
    command: str = field(default_factory=described_command)
    machine: dict[str, Any] = field(default_factory=describe_machine)
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "kilnx": own_version(),
            "created": self.created,
            "source": self.source,
            "command": self.command,
            "seed": self.seed,
            "target": self.target,
            "machine": self.machine,
            "threads": self.threads,
            "metric": {
                "name": self.metric_name,
                "max_drop": self.max_drop,
                "min_agreement": self.min_agreement,
                "min_sqnr_db": self.min_sqnr_db,
            },
            "judged": [asdict(one) for one in self.judged],
            "baseline": asdict(self.baseline),
            "steps": [step.to_dict() for step in self.steps],
            "result": asdict(self.result),
            "stress": plain(self.stress),
            "notes": list(self.notes),
            "insight": self.insight.to_dict() if self.insight else None,
            "defects": [defect.to_dict() for defect in self.all_defects()],
            "costs": None if self.costs is None else dict(self.costs),
            "work": None if self.work is None else dict(self.work),
            "calibration": None if self.calibration is None else self.calibration.to_dict(),
            "files": dict(self.files),
        }

    def all_defects(self) -> tuple[Defect, ...]:
        """All that failed by a fault of kilnx, in steps, analysis and report."""
        steps = [step.defect for step in self.steps if step.defect is not None]
        insight = self.insight.defects if self.insight else ()
        return (*steps, *insight, *self.defects)

    def headline(self) -> str:
        """How much smaller and faster the model became, and at what loss."""
        return f"{self.source}: {summary(self)}"

    def rows(self) -> list[dict[str, str]]:
        """The rows of fp32, every step and the result, as cells of a table."""
        return table_rows(self)

    def to_json(self) -> str:
        """``to_dict`` as indented JSON."""
        return _json(self.to_dict())


def writable(report: Report) -> Report:
    """``report``, or what of it can be written as JSON, with the defects that took the rest."""
    defects: list[Defect] = []

    def whole(part: str, document: Callable[[], Any]) -> bool:
        found = contain(part, lambda: _json(document()))
        defects.extend([found] if isinstance(found, Defect) else [])
        return not isinstance(found, Defect)

    steps = tuple(
        step if whole(f"the report of {step.name}", step.to_dict) else replace(step, details={})
        for step in report.steps
    )
    insight = report.insight
    if insight is not None and not whole("the report of the analysis", insight.to_dict):
        defects.extend(insight.defects)
        insight = None
    return replace(report, steps=steps, insight=insight, defects=(*report.defects, *defects))


def _json(document: Any) -> str:
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def summary(report: Report) -> str:
    """One sentence: how much smaller, how much faster, and at what loss."""
    size = report.baseline.size_bytes / max(report.result.size_bytes, 1)
    parts = [f"{times(size)} smaller" if size > 1.005 else "no smaller"]
    if report.result.speedup is not None:
        parts.append(f"{times(report.result.speedup)} as fast as fp32")
    before, after, agreement = report.baseline.metric, report.result.metric, report.result.agreement
    if report.metric_name is not None and before is not None and after is not None:
        parts.append(f"{metric_title(report)} {before:.4g} → {after:.4g}")
    elif agreement is not None:
        parts.append(f"agrees with fp32 on {agreement:.2%} of the samples")
    return ", ".join(parts) + "."


def metric_title(report: Report) -> str:
    """What the column ``metric`` holds: of several metrics the first."""
    return (report.metric_name or "agreement").split(",")[0]


def files_not_reported(folder: Path) -> Iterator[str]:
    """Yield the files in a folder that ``compress`` did not write, by its report's digests.

    Without such a report, these are all files.
    """
    path = folder / REPORT_NAME
    try:
        if path.is_symlink():
            raise ValueError("compress does not write links")
        document = json.loads(path.read_text(encoding="utf-8"))
        written = {**document["files"], REPORT_NAME: None}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        yield from foreign_files(folder, {})
        return
    yield from (name for name in foreign_files(folder, written) if name != REPORT_NAME)


def table_rows(report: Report) -> list[dict[str, str]]:
    """The same table as formatted cells, for a terminal."""
    titles = ("model", "size", "of fp32", "latency", "speed-up", metric_title(report), "SQNR", "")
    return [
        dict(zip(titles, (name, *cells(found, report), note), strict=True))
        for name, found, note in models(report)
    ]


def models(report: Report) -> list[tuple[str, Measured | None, str]]:
    """Rows of the table: name, measurement if there is one, verdict."""
    steps = [
        (step.name, step.measured if step.tried else None, decision(step)) for step in report.steps
    ]
    return [("fp32", report.baseline, ""), *steps, ("result", report.result, "")]


def decision(step: StepReport) -> str:
    """The outcome of the step, in a word or two."""
    if step.defect is not None and not step.kept:
        return "failed"
    return ("kept" if step.kept else "not kept") if step.tried else "nothing to do"


def cells(found: Measured | None, report: Report) -> list[str]:
    """A measurement as formatted cells, which are empty if there is none."""
    if found is None:
        return [""] * 6
    share = found.size_bytes / max(report.baseline.size_bytes, 1)
    judged = found.agreement if report.metric_name is None else found.metric
    return [
        f"{found.size_bytes / 1024:,.1f} KiB",
        times(share),
        "" if found.latency_ms is None else f"{found.latency_ms:.3f} ms",
        "" if found.speedup is None else _speedup(found),
        "" if judged is None else f"{judged:.4f}",
        "" if found.sqnr_db is None else f"{found.sqnr_db:.1f} dB",
    ]


def _speedup(found: Measured) -> str:
    speedup = times(found.speedup or 0.0)
    if found.speedup_low is None or found.speedup_high is None:
        return f"about {speedup}"
    return f"{speedup} ({found.speedup_low:.2f} to {found.speedup_high:.2f})"
