"""The standard sequence of passes, for every model that kilnx exports or quantizes."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from converter.passes.cleanup.clean import Clean
from converter.passes.deduplication.initializers import DeduplicateInitializers
from converter.passes.deduplication.tied_tables import TieTables
from converter.passes.fusion.affine_before_reshape import MoveAffineBeforeReshape
from converter.passes.fusion.affine_into_following import FoldAffineIntoFollowingLinear
from converter.passes.fusion.affine_into_preceding import FoldAffineIntoPrecedingLinear
from converter.passes.fusion.flatten import FoldFlattenedTransposes
from converter.passes.fusion.gelu import HalveGeluFirst
from converter.passes.fusion.merge_affine import MergeAffine
from converter.passes.fusion.unwrap_matmul import UnwrapMatMul
from converter.passes.layout.choose import MoveSqueezes, MoveTransposes
from converter.passes.layout.transposes import MergeTransposes
from converter.passes.shapes.infer_shapes import InferShapes
from converter.passes.shapes.reshapes import MergeReshapes
from converter.passes.shapes.static_shapes import FoldStaticShapes
from runtimes.onnx_graph.fold_constants import FoldConstants
from runtimes.onnx_graph.fold_pads import FoldPads
from runtimes.onnx_graph.rewrite import Refusal, RewritePass, RewriteResult

# One round may enable another; the limit ends any cycle.
_MAX_ROUNDS = 10
# Smaller duplicates cost next to nothing, and sharing them would tie unrelated layers together.
_DEDUPLICATE_FROM_BYTES = 1 << 16


def optimize(model: ir.Model) -> ir.Model:
    """Simplify ``model`` in place without changing what it computes, and return it.

    Running it again changes nothing; equal models give equal results. Inputs and outputs keep
    their names, types and order.
    """
    Optimize()(model)
    return model


class Optimize(ir.passes.InPlacePass):
    """The standard sequence as one pass; its result lists what was refused, and why."""

    def __repr__(self) -> str:
        return f"Optimize({', '.join(map(repr, _sequence()))})"

    def call(self, model: ir.Model) -> RewriteResult:
        """Run the sequence until a whole round changes nothing."""
        modified = False
        refusals: tuple[Refusal, ...] = ()
        for _ in range(_MAX_ROUNDS):
            changed, refusals = _round(model, _sequence())
            modified = modified or changed
            if not changed:
                break
        for last in (DeduplicateInitializers(min_bytes=_DEDUPLICATE_FROM_BYTES), TieTables()):
            modified = last(model).modified or modified
        return RewriteResult(model, modified, refusals)


def _sequence() -> tuple[RewritePass, ...]:
    return (
        Clean(),
        FoldConstants(),
        HalveGeluFirst(),
        InferShapes(),
        FoldStaticShapes(),
        MergeReshapes(),
        UnwrapMatMul(),
        MergeTransposes(),
        MoveTransposes(),
        MoveSqueezes(),
        FoldFlattenedTransposes(),
        FoldPads(),
        MoveAffineBeforeReshape(),
        FoldAffineIntoPrecedingLinear(),
        FoldAffineIntoFollowingLinear(),
        MergeAffine(),
    )


def _round(model: ir.Model, passes: Sequence[RewritePass]) -> tuple[bool, tuple[Refusal, ...]]:
    modified = False
    refusals: list[Refusal] = []
    for step in passes:
        result = step(model)
        assert isinstance(result, RewriteResult)
        modified = modified or result.modified
        refusals += result.refusals
    return modified, tuple(refusals)
