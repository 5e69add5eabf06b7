"""``dedupe``: store equal weights once, inside a model and across a family of models."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx_ir as ir

from converter.passes.cleanup.common_subexpressions import MergeCommonSubexpressions
from converter.passes.deduplication.initializers import DedupeReport, deduplicate
from converter.passes.deduplication.near_duplicates import merge_near
from runtimes.atomic_files import refuse_existing
from runtimes.errors import DataError
from runtimes.onnx_files.load_save import (
    ModelSource,
    load_model,
    save_model,
    weight_bytes,
    write_model,
)
from runtimes.onnx_graph.fold_views import VIEW_KEY
from runtimes.onnx_graph.values import all_nodes
from runtimes.weight_store.store import StoreReport, create_store

if TYPE_CHECKING:
    from runtimes.parity.budget import Budget

__all__ = ["dedupe", "deduplicate_all"]


def dedupe(
    sources: ModelSource | Sequence[ModelSource],
    output: str | os.PathLike[str],
    *,
    names: Sequence[str] | None = None,
    near: float | None = None,
    data: Any = None,
    metric: str | None = None,
    max_drop: float = 0.01,
    min_agreement: float = 0.99,
    min_sqnr: float = 20.0,
    force: bool = False,
) -> DedupeReport | StoreReport:
    """Write one model with equal weights stored once, or a store of several models.

    One model: the file ``output`` computes the same, bit by bit (in ONNX Runtime, which reads
    views of tensors when it loads). Several models, or an ``output`` that ends in a slash or is a
    folder: a weight store (``runtimes.weight_store``), the models called ``names`` or as their
    files.

    ``near``: also merge weights that differ by at most this share of their largest magnitude.
    That is lossy: ``data`` judges it (as ``check`` does, by ``max_drop`` of ``metric`` where there
    are labels, else by ``min_agreement`` and ``min_sqnr`` in dB), and what is outside the budget
    is not done; the notes of the report say so. Models that are passed in stay as they are.
    Raises ``ModelError`` and ``DataError`` as ``load_model`` and ``save_model`` do.
    """
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
        return create_store(output, sources, names, force=force)
    refuse_existing(output, force=force)
    model = load_model(sources[0]).clone()
    report = deduplicate_all(model)
    if near is not None:
        from runtimes.parity.budget import Budget

        budget = Budget(metric, max_drop, min_agreement, min_sqnr)
        model, report = _near(model, report, near, data, budget)
    save_model(model, output, force=force)
    return report


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
    data: Any,
    budget: Budget,
) -> tuple[ir.Model, DedupeReport]:
    """The model with near duplicates merged if that is inside the budget, else ``exact``."""
    from runtimes.data.dataset import Dataset
    from runtimes.onnx_files.load_save import model_inputs, model_outputs
    from runtimes.parity.budget import default_metric

    candidate = exact.clone()
    merged = merge_near(candidate, tolerance)
    if not merged:
        return exact, replace(report, notes=(f"no two weights are within {tolerance:g}",))
    dataset = Dataset.open(data, inputs=model_inputs(exact))
    metric = budget.metric or default_metric(model_outputs(exact), dataset)
    budget = replace(budget, metric=metric)
    with tempfile.TemporaryDirectory(prefix="kilnx-") as folder:
        paths = [Path(folder) / name for name in ("exact.onnx", "near.onnx")]
        for model, path in zip((exact, candidate), paths, strict=True):
            write_model(model.clone(), path)
        parity = budget.check(paths[0], paths[1], dataset)
    if not parity.passed:
        note = f"near duplicates stay: outside the budget, {parity.reason}"
        return exact, replace(report, notes=(note,))
    return candidate, replace(
        report,
        merged=(*report.merged, *merged),
        weight_bytes_after=weight_bytes(candidate),
        notes=(f"near duplicates merged: {parity.reason}",),
    )
