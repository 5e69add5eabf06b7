"""Tied weights: what reads a copy of an embedding table reads the table itself.

A tied embedding is one table from which a Gather looks up rows and which a matrix product reads
transposed (Press and Wolf 2017, arXiv:1608.05859).
"""

from __future__ import annotations

import onnx_ir as ir

from converter.passes.deduplication.initializers import (
    VIEW_FROM_BYTES,
    mergeable,
    read_out_of,
    replace_by,
)
from converter.passes.deduplication.tensor_views import find_view, fingerprint
from runtimes.onnx_files.tensor_bytes import equal_bytes
from runtimes.onnx_graph.fold_views import VIEW_KEY
from runtimes.onnx_graph.rewrite import Refuse, RewritePass
from runtimes.onnx_graph.values import looks_up


class TieTables(RewritePass):
    """Make nodes that read a copy of an embedding table, transposed or not, read the table.

    Exporters fold small weights, including the transposed copy of a tied embedding. Other views are
    left to ``deduplicate``, because they would hide weights from the passes that follow.
    """

    def rewrite(self, model: ir.Model, refuse: Refuse) -> bool:
        """Tie the tables of the main graph."""
        modified = False
        values = [v for v in mergeable(model) if v.graph is model.graph and _is_large_matrix(v)]
        for table in values:
            users = list(table.consumers())
            if not users or not all(looks_up(user, table) for user in users):
                continue
            for value in values:
                if value is not table and value.is_initializer():
                    modified = _tie_copy(model, table, value) or modified
        return modified


def _is_large_matrix(value: ir.Value) -> bool:
    tensor = value.const_value
    return tensor is not None and len(tensor.shape) == 2 and tensor.nbytes >= VIEW_FROM_BYTES


def _tie_copy(model: ir.Model, table: ir.Value, value: ir.Value) -> bool:
    held, other = table.const_value, value.const_value
    if held is None or other is None or (held.dtype, held.size) != (other.dtype, other.size):
        return False
    if fingerprint(held) != fingerprint(other):
        return False
    if held.shape == other.shape and equal_bytes(held, other):
        replace_by(table, value)
        return True
    view = find_view(held, other)
    if view is None or view.operator != "Transpose":
        return False
    # Not marked as one of our views: the tie is the model's own, and later passes keep it.
    read_out_of(model, table, value, view).metadata_props.pop(VIEW_KEY)
    return True
