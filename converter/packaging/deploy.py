"""``deploy``: write a bundle in the form that another system starts."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, fields
from pathlib import Path

from converter.packaging.docker import export_docker
from converter.packaging.executable.build import export_executable
from converter.packaging.kserve import export_kserve
from converter.packaging.kserve_graph import export_graph
from converter.packaging.kubernetes import export_kubernetes
from converter.packaging.mlflow import export_mlflow
from converter.packaging.options import DeployOptions, DeployReport, Exported
from converter.packaging.triton import export_triton
from converter.packaging.triton_ensemble import export_ensemble
from runtimes.atomic_files import atomic_folder, file_digests, foreign_files
from runtimes.bundle import Bundle
from runtimes.errors import DataError
from runtimes.options import flat_options
from runtimes.suggestions import did_you_mean
from runtimes.version import own_version

Write = Callable[[Bundle, Path, DeployOptions], Exported]


@dataclass(frozen=True)
class Exporter:
    """What writes a bundle for one system, and which options have a meaning there.

    ``write_stages``: what writes a bundle of stages, where the system runs one after the other.
    """

    write: Write
    uses: frozenset[str]
    write_stages: Write | None = None

    def of(self, bundle: Bundle) -> Write:
        """What writes ``bundle``."""
        return self.write if bundle.stages is None else self.write_stages or self.write


_IMAGE = frozenset({"name", "image", "cpus"})
_CLUSTER = _IMAGE | {"replicas", "max_replicas"}

EXPORTERS: Mapping[str, Exporter] = {
    "executable": Exporter(export_executable, frozenset({"name", "with_server"})),
    "docker": Exporter(export_docker, _IMAGE),
    "k8s": Exporter(export_kubernetes, _CLUSTER),
    "kserve": Exporter(export_kserve, _CLUSTER, export_graph),
    "triton": Exporter(
        export_triton, frozenset({"name", "max_batch", "instances"}), export_ensemble
    ),
    "mlflow": Exporter(export_mlflow, frozenset()),
}
"""By the name of the system."""

RECORD = "kilnx-deployment.json"
"""The file that says what was written, so that it can be replaced later."""


@flat_options(options=DeployOptions)
def deploy(
    bundle: str | os.PathLike[str] | Bundle,
    output: str | os.PathLike[str],
    to: str,
    options: DeployOptions = DeployOptions(),
    *,
    force: bool = False,
) -> DeployReport:
    """Write ``bundle`` to the folder ``output`` in the form that the system ``to`` starts.

    The folder appears when it is complete, or not at all.

    Args:
        bundle: A bundle, a folder or a ``.kilnx`` file, which is verified; or an open one.
        output: The folder to write.
        to: ``executable``, ``docker``, ``k8s``, ``kserve``, ``triton`` or ``mlflow``.
        options: Names, image and sizes; its fields are taken as keywords, too.
        force: Whether a folder that this function wrote before is replaced.

    Returns:
        What was written, and which commands come next.

    Raises:
        DataError: The output is in the way, or a name or version is none in the other system.
        BundleError: The bundle is not what its manifest says.
        RuntimeUnavailable: Something that is to be shipped is not installed here.

    Example:
        >>> bundle = package("model.onnx", "digits.kilnx", name="digits")
        >>> deploy("digits.kilnx", "digits-triton", "triton", max_batch=8).next_steps
        ('tritonserver --model-repository repository',)
    """
    if to not in EXPORTERS:
        raise DataError(f"no system is called {to!r}{did_you_mean(to, EXPORTERS)}")
    _refuse_unused(to, options)
    with ExitStack() as held:
        if not isinstance(bundle, Bundle):
            bundle = held.enter_context(Bundle.open(bundle))
        if Path(output).resolve().is_relative_to(bundle.path.resolve()):
            raise DataError(f"{output} is in the bundle {bundle.path}; choose another output")
        inputs = (bundle.path, bundle.folder)
        with atomic_folder(
            output, force=force, inputs=inputs, foreign=files_not_recorded
        ) as folder:
            exported = EXPORTERS[to].of(bundle)(bundle, folder, options)
            _write_readme(folder, to, bundle, exported)
            files = _write_record(folder, to, bundle)
        steps, notes = exported.next_steps, (*bundle.notes, *exported.notes)
        return DeployReport(to, str(output), bundle.digest, files, steps, notes)


def files_not_recorded(folder: Path) -> Iterator[str]:
    """Yield the files in a folder that ``deploy`` did not write; without its record, all."""
    try:
        written = dict(json.loads((folder / RECORD).read_text(encoding="utf-8"))["files"])
    except (OSError, ValueError, KeyError, TypeError):
        yield from foreign_files(folder, {})
        return
    yield from (name for name in foreign_files(folder, written) if name != RECORD)


def _refuse_unused(to: str, options: DeployOptions) -> None:
    """Refuse an option that would change nothing: who gave it expects that it does."""
    plain = DeployOptions()
    for one in fields(options):
        given = getattr(options, one.name) != getattr(plain, one.name)
        if given and one.name not in EXPORTERS[to].uses:
            option = one.name.replace("_", "-")
            raise DataError(f"--{option} has no meaning for {to}; leave it out")


def _write_readme(folder: Path, to: str, bundle: Bundle, exported: Exported) -> None:
    steps = "".join(f"    {step}\n" for step in exported.next_steps)
    notes = "".join(f"- {note}\n" for note in (*bundle.notes, *exported.notes))
    title = f"{bundle.name} {bundle.version} for {to}"
    text = f"{title}\n{'=' * len(title)}\n\nIn this folder:\n\n{steps}\nTo know:\n\n{notes}"
    (folder / "README.txt").write_text(text, encoding="utf-8")


def _write_record(folder: Path, to: str, bundle: Bundle) -> dict[str, str]:
    """Write what ``files_not_recorded`` reads; gives the digest of every other file."""
    files = file_digests(folder)
    record = {"kilnx": own_version(), "to": to, "bundle": bundle.digest, "files": files}
    text = json.dumps(record, indent=2, sort_keys=True)
    (folder / RECORD).write_text(f"{text}\n", encoding="utf-8")
    return files
