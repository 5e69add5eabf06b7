"""What a target asks of an exported file: its form, and a run in its own engine."""

from __future__ import annotations

import os
from collections.abc import Sequence

import onnx_ir as ir

from converter.export.other_backends import Sample
from converter.passes.target_form import fit_to_target
from runtimes.engines.of_target import notes_of
from runtimes.engines.provider_names import find_provider
from runtimes.engines.providers import is_available
from runtimes.errors import ConversionError
from runtimes.parity.target_engines import refuse_wrong_engines
from runtimes.targets import Target


def fitted(graph: ir.Model, target: Target) -> ir.Model:
    """``graph`` in the target's form; ``ConversionError`` names the node that it does not run."""
    return fit_to_target(graph, target, name="the exported model", error=ConversionError)


def prove_in_engines(
    path: str | os.PathLike[str], target: Target, samples: Sequence[Sample]
) -> tuple[str, ...]:
    """Run the file on the first of ``samples`` in the target's engines; notes on what did not run.

    Raises ``ConversionError`` where one of them refuses the file or computes something else.
    """
    if target.is_default:
        return ()
    if not is_available(target.engine):
        title = find_provider(target.engine).title
        return (*target.notes, f"the file was not run in {title}, which is not installed")
    feed = dict(samples[0].file_feed)
    refuse_wrong_engines(path, feed, target, error=ConversionError)
    return notes_of(target)
