"""``package``: a model with its proof as one bundle, ready to be run, served and watched."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from converter.packaging.held_out import held_out
from converter.packaging.labels import check_labels, labels_of
from converter.packaging.lock import requirements_lock
from converter.packaging.parts import Parts, is_bundle, open_parts
from converter.packaging.warmup import warmup_bytes
from runtimes.bundle.bundle import Bundle
from runtimes.bundle.file_names import SUFFIX
from runtimes.bundle.manifest import REFERENCE
from runtimes.bundle.signature import Password, open_signer
from runtimes.bundle.write import repack, write_bundle
from runtimes.data.dataset import Dataset
from runtimes.options import RunOptions, flat_options
from runtimes.readable import ReadableReport
from runtimes.stages.staged import StagedRuntime


@dataclass(frozen=True)
class PackageOptions:
    """What a bundle says besides what its files say.

    Attributes:
        name: What the model is called; None: as the output without its ending.
        version: Which version of it this is; None: 1, or that of the bundle which is packaged.
        labels: Names of the classes; None: those of the data, where they are names there.
        limits: What a server should refuse, by name; None: nothing, or what the bundle says.
        policy: What a monitor should do; None: its defaults, or what the bundle says.
        sign: File of the secret key (minisign) that signs.
        password: That of the key, or what asks for it.
        verify: Public key (minisign), or its file, by which a bundle that is packaged is signed.
        force: Whether a bundle at the output is replaced.
    """

    name: str | None = None
    version: str | None = None
    labels: Sequence[str] | None = None
    limits: Mapping[str, Any] | None = None
    policy: Mapping[str, Any] | None = None
    sign: str | os.PathLike[str] | None = None
    password: Password | None = None
    verify: str | None = None
    force: bool = False


@dataclass(frozen=True)
class PackageReport(ReadableReport):
    """A bundle that was written; ``files`` are sizes in bytes by name."""

    path: str
    name: str
    version: str
    digest: str
    signed: bool
    files: Mapping[str, int]
    notes: tuple[str, ...] = ()

    def headline(self) -> str:
        """What was written, and how large it is."""
        size = sum(self.files.values()) / 1024
        signed = "signed" if self.signed else "not signed"
        return (
            f"{self.path}: {self.name} {self.version}, {len(self.files)} files, {size:,.1f} KiB, "
            f"{signed}, {self.digest}"
        )

    def rows(self) -> list[dict[str, str]]:
        """Every file with its size."""
        return [
            {"file": name, "size": f"{size / 1024:,.1f} KiB"} for name, size in self.files.items()
        ]


@flat_options(options=PackageOptions, run=RunOptions)
def package(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    data: Any = None,
    *,
    options: PackageOptions = PackageOptions(),
    run: RunOptions = RunOptions(),
) -> PackageReport:
    """Write a bundle: the model, its proof, and what served data are compared with.

    The same files, data and words give the same bytes. The fields of the dataclasses are taken as
    keywords, too.

    Args:
        source: The folder that ``compress`` or ``partition`` wrote, an ONNX file, or a bundle to
            write anew.
        output: A name that ends with ``.kilnx`` for one file, any other for a folder.
        data: What ``Dataset.open`` takes: held-out samples, from which the reference and the
            samples to warm up with come. What calibrated is left out, if the report tells. Without
            data there is neither, and served data are compared with nothing.
        options: Name, version, labels, limits, policy, and keys.
        run: Threads, seed and progress.

    Returns:
        What was written.

    Raises:
        DataError: ``output`` exists, the data do not fit or all of them calibrated, or the folder
            is not what its report says.
        ModelError: There is no model, or it cannot be read.
        BundleError: ``source`` is a bundle and not what its manifest says, or a key is none.
        RuntimeUnavailable: There is nothing here that signs.

    Example:
        >>> print(package("model.onnx", "digits.kilnx", name="digits").name)
        digits
    """
    source, output = Path(source), Path(output)
    sign = None if options.sign is None else open_signer(options.sign, options.password)
    with ExitStack() as held:
        if data is None and is_bundle(source) and _changes_nothing(options):
            with Bundle.open(source, public_key=options.verify) as bundle:
                again = repack(bundle, output, sign=sign, force=options.force)
            return _reported(again, ())
        parts = open_parts(source, held, options.verify)
        parts, notes = _with_data(parts, data, run)
        parts = _with_words(parts, options, output)
        run.tell("writing the bundle")
        bundle = write_bundle(
            output,
            **_contents(parts),
            sign=sign,
            force=options.force,
        )
    return _reported(bundle, notes)


def name_after(path: Path) -> str:
    """What a model is called that nobody gave a name: as its file, in letters that may be."""
    stem = path.name.removesuffix(SUFFIX)
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")[:128] or "model"


def _changes_nothing(options: PackageOptions) -> bool:
    said = (options.name, options.version, options.labels, options.limits, options.policy)
    return all(one is None for one in said)


def _with_data(parts: Parts, data: Any, run: RunOptions) -> tuple[Parts, tuple[str, ...]]:
    """Reference and samples to warm up with, from data that did not calibrate."""
    if data is None:
        none = () if parts.reference else (_NOTHING_TO_COMPARE,)
        return parts, none
    run.tell("looking for held-out samples")
    samples = Dataset.open(data, inputs=parts.signature()[0])
    chosen, told = held_out(samples, parts.calibration)
    run.tell("measuring the reference")
    from runtimes.monitor import make_reference

    with _opened(parts) as model:
        reference = make_reference(model, parts.fp32, chosen, seed=run.seed)
    found = replace(
        parts,
        reference=reference.to_json().encode(),
        warmup=warmup_bytes(chosen, run.seed),
        labels=parts.labels or labels_of(samples),
    )
    return found, (told, *samples.notes)


@contextmanager
def _opened(parts: Parts) -> Iterator[Path | StagedRuntime]:
    """The model's file, or its stages, which run here one after the other."""
    if parts.folder_of_stages is None:
        assert parts.model is not None
        yield parts.model
        return
    with StagedRuntime(parts.folder_of_stages) as staged:
        yield staged


_NOTHING_TO_COMPARE = (
    f"without --data there is no {REFERENCE}: what is served will not be compared with what was "
    "proven"
)


def _with_words(parts: Parts, options: PackageOptions, output: Path) -> Parts:
    """What the options say, in place of what a bundle or the data said; checked."""
    labels = parts.labels if options.labels is None else tuple(options.labels)
    check_labels(labels, parts.signature()[1])
    policy = parts.policy if options.policy is None else options.policy
    if policy:
        from runtimes.monitor import Policy

        Policy.from_json(dict(policy))
    limits = parts.limits if options.limits is None else options.limits
    return replace(
        parts,
        name=options.name or parts.name or name_after(output),
        version=options.version or parts.version or "1",
        labels=labels,
        limits=limits,
        policy=policy,
    )


def _contents(parts: Parts) -> dict[str, Any]:
    """The arguments of ``write_bundle``."""
    found = dict(vars(parts))
    del found["calibration"]
    found["requirements"] = parts.requirements or requirements_lock().encode()
    return found


def _reported(bundle: Bundle, notes: tuple[str, ...]) -> PackageReport:
    with bundle:
        return PackageReport(
            str(bundle.path),
            bundle.name,
            bundle.version,
            bundle.digest,
            bundle.signed,
            {name: entry.size for name, entry in sorted(bundle.files.items())},
            (*notes, *bundle.notes),
        )
