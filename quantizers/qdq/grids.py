"""From observed ranges to the grid of every activation in a plan."""

from __future__ import annotations

import math
from collections.abc import Mapping

import onnx_ir as ir

from quantizers.calibration.observers import Range
from quantizers.calibration.scales import QuantizationParameters, grid_for, symmetric_grid_for
from quantizers.policy.plan import Plan, Unit
from runtimes.onnx_graph.values import only_user


def observed_values(plan: Plan) -> tuple[ir.Value, ...]:
    """The values whose ranges ``assign_grids`` needs, in graph order."""
    return tuple(dict.fromkeys(plan.source(value) for value in plan.quantized_values()))


def assign_grids(plan: Plan, ranges: Mapping[str, Range]) -> dict[ir.Value, QuantizationParameters]:
    """Give every quantized value of ``plan`` its grid.

    Moved values stay on the grid of their source. The result of an absorbed ReLU or Clip gets
    a grid that does the clipping. The inputs of a Concat that nothing else reads get the
    grid of its output: the Concat then copies bytes, and one rounding is saved. Grids around zero
    cover what they get, and clip for nobody.
    """
    sources: dict[ir.Value, QuantizationParameters] = {}
    for value in observed_values(plan):
        unit = plan.producer(value)
        ceiling = math.inf if unit is None else unit.ceiling
        span = ranges[str(value.name)]
        around_zero = plan.form.symmetric
        sources[value] = symmetric_grid_for(span) if around_zero else grid_for(span, ceiling)
    for unit in reversed(plan.units):
        if unit.operator.shared_grid:
            _share_grid(unit, plan, sources)
    return {value: sources[plan.source(value)] for value in plan.quantized_values()}


def _share_grid(unit: Unit, plan: Plan, sources: dict[ir.Value, QuantizationParameters]) -> None:
    grid = sources[unit.output]
    for value in unit.data:
        producer = plan.producer(value)
        if only_user(value) is not unit.node or producer is None or plan.source(value) is not value:
            continue
        # An absorbed activation lives in the edges of its grid: a wider one would undo it.
        clips = producer.has_activation and not plan.form.symmetric
        if not clips or (grid.zero_point == 0 and grid.high <= producer.ceiling):
            sources[value] = grid
