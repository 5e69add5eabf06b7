"""What a float model will be once it is quantized, as far as time goes.

Channels that cost time in float may cost none in INT8, and the other way round: the kernels block
other numbers of channels, and what lies between convolutions weighs more. So a model that
will run in INT8 is timed in INT8 while it is pruned. That needs no calibration: kernels take the
same time whatever the ranges are, so they are made up, and the results are wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Set

import onnx_ir as ir

from quantizers.calibration.observers import Range
from quantizers.options import QuantizeOptions
from quantizers.policy.plan import Plan, make_plan
from quantizers.qdq.dynamic import find_weights_only, place_weights_only
from quantizers.qdq.grids import assign_grids, observed_values
from quantizers.qdq.place import insert_qdq
from quantizers.rewrites.prepare import prepare
from quantizers.static import quantize_model
from runtimes.costs import Costs
from runtimes.data.dataset import Dataset

Form = Callable[[ir.Model], ir.Model]
"""Makes of a model what will run in its place."""

# Which operators are INT8 is asked here, not how well: a few samples give the scales.
_SAMPLES = 16


def as_float(model: ir.Model) -> ir.Model:
    """The form of a model that stays as it is."""
    return model


def int8_form(model: ir.Model, data: Dataset, threads: int, costs: Costs) -> Form:
    """The form that ``model``, and what is left of it when channels go, will have in INT8.

    Which operators stay in float because they are faster so is found by ``costs``, for ``model``;
    with other channels it may be others, so the form is good for models that are much like it.
    """
    options = QuantizeOptions(
        bias_correction=False,
        equalize=False,
        choose_ranges=False,
        rounding="nearest",
        measure=True,
        noise_counts=False,
        threads=threads,
        costs=costs,
    )
    _, report = quantize_model(model, data.take(_SAMPLES), options=options)
    in_float = frozenset(one.name for one in report.operators if one.precision == "float32")
    if len(in_float) == len(report.operators):
        return as_float
    return lambda other: draft(other, in_float)


def draft(model: ir.Model, in_float: Set[str] = frozenset()) -> ir.Model:
    """``model`` with the kernels that INT8 would give it and made-up ranges.

    ``in_float``: names of the nodes that stay in float. ``model`` stays as it is.
    """
    drafted = prepare(model)
    plan = make_plan(drafted.graph, in_float)
    recurrent = find_weights_only(drafted.graph, in_float)
    ranges = {str(value.name): _made_up(plan, value) for value in observed_values(plan)}
    insert_qdq(drafted.graph, plan, assign_grids(plan, ranges))
    place_weights_only(drafted, recurrent)
    return drafted


def _made_up(plan: Plan, value: ir.Value) -> Range:
    """From zero behind an activation, so that its clipping goes as it does in the end."""
    unit = plan.producer(value)
    return Range(0.0 if unit is not None and unit.has_activation else -1.0, 1.0)
