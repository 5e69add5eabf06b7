"""``dedupe``: store equal weights once, inside a model and across a family of models."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import onnx_ir as ir

from converter.compression.users_errors import explained
from converter.passes.cleanup.common_subexpressions import MergeCommonSubexpressions
from converter.passes.deduplication.initializers import DedupeReport, deduplicate
from converter.passes.deduplication.near_duplicates import merge_near
from runtimes.atomic_files import refuse_existing, scratch_folder
from runtimes.data.dataset import Dataset
from runtimes.defects import Defect, contain
from runtimes.errors import DataError
from runtimes.onnx_files.load_save import (
    ModelSource,
    load_model,
    model_inputs,
    save_model,
    weight_bytes,
    write_model,
)
from runtimes.onnx_graph.fold_views import VIEW_KEY
from runtimes.onnx_graph.values import all_nodes
from runtimes.options import flat_options
from runtimes.parity.budget import Budget
from runtimes.weight_store.store import StoreReport, create_store

__all__ = ["dedupe", "deduplicate_all", "merge_twins"]


@dataclass(frozen=True)
class DedupeOptions:
    """What ``dedupe`` merges.

    Attributes:
        names: What the models are called in a store; otherwise as their files.
        near: Also merge weights that differ by at most this share of their largest magnitude.
        force: Whether an existing output is replaced.
    """

    names: Sequence[str] | None = None
    near: float | None = None
    force: bool = False


@flat_options(budget=Budget, options=DedupeOptions)
def dedupe(
    sources: ModelSource | Sequence[ModelSource],
    output: str | os.PathLike[str],
    *,
    data: Any = None,
    budget: Budget = Budget(),
    options: DedupeOptions = DedupeOptions(),
) -> DedupeReport | StoreReport:
    """Write one model with equal weights stored once, or a store of several models.

    One model: the file ``output`` computes the same, bit by bit (in ONNX Runtime, which reads
    views of tensors when it loads). Several models, or an ``output`` that ends in a slash or is a
    folder: a weight store (``runtimes.weight_store``). Merging near duplicates is lossy: ``data``
    judges it, and what is outside the budget is not done; the notes of the report say so, and what
    failed by kilnx' own fault. Models that are passed in stay as they are. The fields of both
    dataclasses are taken as keywords, too.

    Args:
        sources: ONNX files or ``onnx_ir.Model``s, one or several.
        output: The file or the folder to write.
        data: What ``Dataset.open`` takes; judges what ``near`` merges.
        budget: What loss is acceptable where ``near`` is given.
        options: Names in the store, how near is near, whether to replace.

    Returns:
        What was merged, or what the store holds.

    Raises:
        ModelError: A file cannot be read.
        DataError: ``output`` exists, or ``near`` stands without data or with several models.

    Example:
        >>> dedupe("model.onnx", "smaller.onnx").saved_bytes
        0
    """
    near, force = options.near, options.force
    if isinstance(sources, str | os.PathLike | ir.Model):
        sources = [sources]
    if not sources:
        raise DataError("no model was given")
    if near is not None and data is None:
        raise DataError("--near changes results: give --data to judge it on")
    if len(sources) > 1 or is_folder(output):
        if near is not None:
            raise DataError(
                "--near is for one model: the models of a store come out as they went in; "
                "run it on each model first"
            )
        return create_store(output, sources, options.names, force=force, merge=merge_twins)
    inputs = (*sources, data)
    refuse_existing(output, force=force, inputs=inputs)
    source = load_model(sources[0])
    model, report = _exact(source)
    if near is not None:
        judging = Dataset.open(data, inputs=model_inputs(model))
        found = contain(
            "merging near duplicates",
            lambda: _near(model, report, near, judging, budget),
            partial(explained, data=(judging,)),
        )
        model, report = (model, _failed(report, found)) if isinstance(found, Defect) else found
    save_model(model, output, force=force, inputs=inputs)
    return report


def _exact(source: ir.Model) -> tuple[ir.Model, DedupeReport]:
    """``source`` with equal weights stored once, or as it is where that fails."""
    model = source.clone()
    found = contain("deduplication", partial(deduplicate_all, model), partial(explained, data=()))
    if not isinstance(found, Defect):
        return model, found
    size = weight_bytes(source)
    return source.clone(), _failed(DedupeReport((), size, size), found)


def _noting(report: DedupeReport, note: str) -> DedupeReport:
    return replace(report, notes=(*report.notes, note))


def _failed(report: DedupeReport, defect: Defect) -> DedupeReport:
    return replace(_noting(report, str(defect)), defects=(*report.defects, defect))


def merge_twins(model: ir.Model) -> str:
    """Let equal, transposed, reshaped and sliced weights of a model be one, in place.

    For stores (``runtimes.weight_store.twins``): nodes stay what they are, and of the same twins
    each model keeps the same one. Says what kept it from doing so, or nothing.
    """
    found = contain(
        "deduplication",
        partial(deduplicate, model, views=True, by_content=True),
        partial(explained, data=()),
    )
    return str(found) if isinstance(found, Defect) else ""


def deduplicate_all(model: ir.Model) -> DedupeReport:
    """Everything exact, in place: equal tensors, views of others, and nodes computed twice."""
    before = _nodes(model)
    report = deduplicate(model, views=True)
    while MergeCommonSubexpressions()(model).modified:
        pass
    return replace(report, nodes_removed=before - _nodes(model))


def _nodes(model: ir.Model) -> int:
    """Nodes that compute something: views of weights, which are ours, do not count."""
    return sum(1 for node in all_nodes(model) if VIEW_KEY not in node.metadata_props)


def is_folder(output: str | os.PathLike[str]) -> bool:
    """Whether ``output`` names a folder: it is one, or it ends like one."""
    return os.fspath(output).endswith((os.sep, "/")) or Path(output).is_dir()


def _near(
    exact: ir.Model,
    report: DedupeReport,
    tolerance: float,
    data: Dataset,
    budget: Budget,
) -> tuple[ir.Model, DedupeReport]:
    """The model with near duplicates merged if that is inside the budget, else ``exact``."""
    from converter.compression.samples import resolve_budget
    from runtimes.parity.check import check

    candidate = exact.clone()
    merged = merge_near(candidate, tolerance)
    if not merged:
        return exact, _noting(report, f"no two weights are within {tolerance:g}")
    budget, _ = resolve_budget(exact, data, budget)
    with scratch_folder() as folder:
        paths = [folder / name for name in ("exact.onnx", "near.onnx")]
        for model, path in zip((exact, candidate), paths, strict=True):
            write_model(model.clone(), path)
        parity = check(paths[0], paths[1], data, budget=budget)
    if not parity.passed:
        note = f"near duplicates stay: outside the budget, {parity.reason}"
        return exact, _noting(report, note)
    report = _noting(report, f"near duplicates merged: {parity.reason}")
    return candidate, replace(
        report,
        merged=(*report.merged, *merged),
        weight_bytes_after=weight_bytes(candidate),
    )
