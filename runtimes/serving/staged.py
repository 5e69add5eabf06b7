"""A model in stages, as the server opens it: each on its device, proven together.

The proof is what ``kilnx partition`` kept of the whole model: some samples and its answers.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from runtimes.atomic_files import scratch_folder
from runtimes.base import Array
from runtimes.engines.runtime import Runtime
from runtimes.errors import BudgetError, DataError
from runtimes.serving.jobs import Run
from runtimes.serving.measure import Measured
from runtimes.serving.options import ServeOptions
from runtimes.serving.proof import prove_parity
from runtimes.weight_store.shared_sessions import SharedWeights

# Stages differ from their whole by rounding. A device may compute in fewer bits.
_MIN_SQNR_DB, _MIN_AGREEMENT = 20.0, 0.9


def copied_stages(folder: Path, held: ExitStack) -> Path:
    """A copy of what runs here of ``folder``: a process that died opens its stage again."""
    from runtimes.stages.manifest import MANIFEST, read_manifest

    files = read_manifest(folder, verify=False).files(here=True)
    scratch = held.enter_context(scratch_folder())
    for name in (MANIFEST, *files):
        shutil.copyfile(folder / name, scratch / name)
    return scratch


def open_stages(
    folder: Path, options: ServeOptions, *, travelled: bool, shared: SharedWeights | None = None
) -> Runtime:
    """Open the stages in ``folder`` on their devices; ``shared``: weights that all models share.

    ``travelled``: they came in a bundle, maybe from somebody else. Where requests, and the token,
    are sent is then not for them to say. Raises ``DataError`` where they do, and what
    ``StagedRuntime`` raises.
    """
    from runtimes.stages.manifest import read_manifest
    from runtimes.stages.staged import StagedRuntime

    servers = read_manifest(folder, verify=False).servers
    if servers and travelled and not options.model.stage_servers:
        raise DataError(
            f"the bundle has stages on {', '.join(servers)}, where requests would go; allow that "
            "with --stage-servers"
        )

    return StagedRuntime(
        folder,
        threads=options.model.threads,
        on_devices=True,
        where=options.model.stages,
        token=options.model.stage_token,
        seconds=options.limits.seconds,
        shared=shared,
    )


def prove_stages(
    run: Run, names: Sequence[str], folder: Path, limits: Mapping[str, Any], model: str
) -> dict[str, Array] | None:
    """Compare the stages with what the whole model answered; the samples, where there are any.

    Raises ``BudgetError`` where they answer something else.
    """
    from runtimes.stages.manifest import read_manifest
    from runtimes.stages.proof import read_proof

    if read_manifest(folder, verify=False).proof is None:
        return None
    proof = read_proof(folder)
    missing = sorted(set(names) - proof.outputs.keys())
    if missing:
        raise BudgetError(f"{model}: its proof says nothing of the output {missing[0]!r}")
    prove_parity(
        run,
        lambda _feed, wanted: [proof.outputs[name] for name in wanted],
        proof.feed,
        names,
        model=model,
        limits={"min_sqnr": _MIN_SQNR_DB, "min_agreement": _MIN_AGREEMENT, **limits},
        known_as="the whole model that was cut, on the samples of their proof",
    )
    return dict(proof.feed)


def in_threads(measured: Measured) -> Measured:
    """The same, never run in the event loop, which must not wait for a process or a network."""
    return replace(measured, engine=replace(measured.engine, inline_rows=0))


def at_work(runtime: Runtime) -> int:
    """How many runs keep ``runtime`` busy: one for each stage that works by itself."""
    found: int = getattr(runtime, "at_work", 1)
    return found
