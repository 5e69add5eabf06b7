"""What goes into a bundle: the files of a folder of ``compress``, of one model or of a bundle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from converter.packaging.staged import is_staged, read_staged, stage_files
from converter.report.report_name import REPORT_NAME
from runtimes.atomic_files import file_digests
from runtimes.base import TensorSpec
from runtimes.bundle.bundle import Bundle
from runtimes.bundle.compatibility import ENGINES, installed_engines
from runtimes.bundle.file_names import MANIFEST, SUFFIX
from runtimes.bundle.manifest import FP32, MODEL, PAGE, STAGES
from runtimes.bundle.sinks import Content
from runtimes.data.sample_digests import SampleDigests
from runtimes.errors import DataError, ModelError
from runtimes.onnx_files.load_save import load_graph, model_inputs, model_outputs
from runtimes.targets import DEFAULT_TARGET


@dataclass(frozen=True)
class Parts:
    """Models, report and what else a bundle holds, as ``write_bundle`` takes them.

    ``model`` is None where there are ``stages``: all of their files, by name. ``calibration``: the
    samples that calibrated, as far as the report tells. ``name`` and ``version`` are empty where
    nobody gave them yet.
    """

    model: Path | None = None
    fp32: Path | None = None
    report: Path | None = None
    html: Path | None = None
    reference: Content | None = None
    warmup: Content | None = None
    requirements: Content | None = None
    labels: tuple[str, ...] = ()
    limits: Mapping[str, Any] = field(default_factory=dict)
    policy: Mapping[str, Any] = field(default_factory=dict)
    target: str = DEFAULT_TARGET
    packages: Mapping[str, str] = field(default_factory=dict)
    name: str = ""
    version: str = ""
    calibration: SampleDigests | None = None
    stages: Mapping[str, Path] | None = None

    @property
    def folder_of_stages(self) -> Path | None:
        """The folder that holds the stages, where there are some."""
        return None if self.stages is None else self.stages[STAGES].parent

    def signature(self) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        """What the model takes and gives; raises ``ModelError``."""
        if self.folder_of_stages is not None:
            whole = read_staged(self.folder_of_stages).whole
            return whole.inputs, whole.outputs
        assert self.model is not None
        graph = load_graph(self.model)
        return model_inputs(graph), model_outputs(graph)


def open_parts(source: Path, held: ExitStack, public_key: str | None = None) -> Parts:
    """What ``source`` holds; ``held`` keeps what was unpacked.

    Raises ``ModelError`` for what holds no model, ``DataError`` for a folder that is not what its
    report says, and ``BundleError``.
    """
    if is_bundle(source):
        return _of_bundle(held.enter_context(Bundle.open(source, public_key=public_key)))
    refuse_key(source, public_key)
    if not source.exists():
        raise ModelError(f"{source}: no such file or folder")
    return _of_folder(source) if source.is_dir() else Parts(source, packages=installed_engines())


def is_bundle(source: Path) -> bool:
    """Whether ``source`` claims to be a bundle: by its manifest, or by its name."""
    return (source / MANIFEST).exists() if source.is_dir() else source.suffix == SUFFIX


def refuse_key(source: Path, public_key: str | None) -> None:
    """Raise ``DataError`` where what is no bundle should be verified."""
    if public_key is not None:
        raise DataError(f"{source} is no bundle, and only a bundle has a signature to verify")


def _of_folder(folder: Path) -> Parts:
    if is_staged(folder) and not (folder / MODEL).is_file():
        return Parts(stages=stage_files(folder), packages=installed_engines())
    if not (folder / MODEL).is_file():
        raise ModelError(
            f"{folder} holds no {MODEL}; give a folder that kilnx compress or kilnx partition "
            "wrote, an ONNX file or a bundle"
        )
    report = _report(folder)
    optional = {name: folder / name for name in (FP32, REPORT_NAME, PAGE)}
    there = {name: path if path.is_file() else None for name, path in optional.items()}
    target = str(report.get("target", DEFAULT_TARGET))
    return Parts(
        folder / MODEL,
        there[FP32],
        there[REPORT_NAME],
        there[PAGE],
        target=target,
        packages=_packages(report, target),
        calibration=_calibration(report, folder),
    )


def _report(folder: Path) -> Mapping[str, Any]:
    """The report in a folder, whose digests are those of the files there; empty without one."""
    path = folder / REPORT_NAME
    if not path.is_file():
        return {}
    try:
        report = json.loads(path.read_bytes())
        written: Mapping[str, str] = dict(report.get("files", {}))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path} is not a report of kilnx: {error}") from error
    found = file_digests(folder)
    changed = sorted(name for name in written if found.get(name) != written[name])
    if changed:
        raise DataError(
            f"{folder / changed[0]} is not the file that {path} was written about, so the report "
            "proves nothing of it; compress again, or package the ONNX file alone"
        )
    return dict(report)


def _packages(report: Mapping[str, Any], target: str) -> dict[str, str]:
    """The engines of the proof: those of the report, and what else the target runs on."""
    machine = report.get("machine")
    recorded = machine.get("packages") if isinstance(machine, Mapping) else None
    proven = recorded if isinstance(recorded, Mapping) else {}
    return {
        **installed_engines(target),
        **{name: str(version) for name, version in proven.items() if name in ENGINES},
    }


def _calibration(report: Mapping[str, Any], folder: Path) -> SampleDigests | None:
    recorded = report.get("calibration")
    if recorded is None:
        return None
    try:
        return SampleDigests.from_dict(recorded)
    except ValueError as error:
        raise DataError(f"{folder / REPORT_NAME}: {error}") from error


def _of_bundle(bundle: Bundle) -> Parts:
    report = bundle.folder / REPORT_NAME if REPORT_NAME in bundle.files else None
    stages = None if bundle.stages is None else stage_files(bundle.stages)
    return Parts(
        bundle.model if stages is None else None,
        bundle.fp32,
        report,
        bundle.page,
        bundle.reference,
        bundle.warmup,
        bundle.requirements,
        bundle.labels,
        bundle.limits,
        bundle.policy,
        bundle.target,
        bundle.manifest["packages"],
        bundle.name,
        bundle.version,
        _calibration(bundle.report or {}, bundle.path),
        stages,
    )
