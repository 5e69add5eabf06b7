"""One INT8 model from one set of decisions: place, look whether it fused, correct the biases."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import onnx_ir as ir

from quantizers.calibration.far_constants import FarConstant
from quantizers.calibration.kept_samples import SCORE_SAMPLES, SCORE_SEED
from quantizers.calibration.observers import Range
from quantizers.calibration.statistics import Distributions, Statistics, spread
from quantizers.options import QuantizeOptions
from quantizers.policy.plan import Plan, make_plan
from quantizers.qdq.dynamic import WeightsOnly, find_weights_only, place_weights_only
from quantizers.qdq.fusion import Fusion, examine_fusion
from quantizers.qdq.grids import assign_grids, observed_values
from quantizers.qdq.place import insert_qdq
from quantizers.rewrites.float_pooling import ShieldPooling
from quantizers.rewrites.transformers import KeepSumsApart
from quantizers.weights.bias_correction import Means, measure_bias_shifts
from quantizers.weights.codes import Memory, WeightCodes, quantize_weights
from runtimes.base import Array
from runtimes.data.dataset import Dataset
from runtimes.engines.runtime import Runtime
from runtimes.parity.check import check
from runtimes.parity.verdict import that_agree


@dataclass(frozen=True)
class CalibratedModel:
    """A float model and what is known of it.

    ``ranges`` and ``methods`` (how each was found) by value name, ``covariances`` by unit name.
    ``distributions`` are the histograms behind the ranges, ``constants`` the values of which a part
    is far from the rest. ``equalized``: how many values had
    their channels rescaled, ``absorbed``: how many gave constant parts away. ``rounded``: weights
    that were rounded before. ``means``: those of channels that were measured before.
    """

    source: ir.Model
    statistics: Statistics
    ranges: Mapping[str, Range]
    methods: Mapping[str, str] = field(default_factory=dict)
    covariances: Mapping[str, Array] = field(default_factory=dict)
    distributions: Distributions = field(default_factory=Distributions)
    constants: Mapping[str, FarConstant] = field(default_factory=dict)
    equalized: int = 0
    absorbed: int = 0
    rounded: Memory = field(default_factory=dict, repr=False)
    means: Means = field(default_factory=dict, repr=False)

    def repairs(self) -> list[str]:
        """What was done to the float model, a sentence each."""
        found = []
        if self.equalized:
            found.append(f"channels of {self.equalized} tensors were equalized")
        if self.absorbed:
            found.append(f"constant parts of {self.absorbed} tensors moved into later biases")
        return found


@dataclass(frozen=True)
class FloatModel:
    """The float model, the same opened, and what stays in float: by policy, and as replayed."""

    source: ir.Model
    reference: Runtime
    kept: dict[str, str]
    replayed: Mapping[str, str]


@dataclass(frozen=True)
class QuantizedCandidate:
    """An INT8 model, the plan it follows and how it came about; ``plan`` is of ``model``.

    ``names``: what its values were called in the float graph. ``kept``: the nodes that had to
    stay in float, with the reason.
    """

    model: ir.Model
    basis: CalibratedModel
    plan: Plan
    fusion: Fusion
    codes: WeightCodes
    ranges: Mapping[str, Range]
    names: Mapping[ir.Value, str]
    kept: Mapping[str, str]
    weights_only: tuple[WeightsOnly, ...]
    corrected: bool


@dataclass(frozen=True)
class Score:
    """How near a model is to its float form: the worst output's SQNR (dB) and agreement."""

    sqnr_db: float
    agreement: float
    samples: int


def build_candidate(
    basis: CalibratedModel,
    keep_float: Mapping[str, str],
    data: Dataset,
    options: QuantizeOptions,
    *,
    correct_biases: bool | None = None,
) -> QuantizedCandidate | None:
    """Quantize what the policy allows except ``keep_float``; None where nothing is left.

    Operators that ONNX Runtime would still run in float are returned to float.
    """
    kept = dict(keep_float)
    correct = options.bias_correction if correct_biases is None else correct_biases
    shifts: dict[str, Array] | None = None if correct else {}
    codes: WeightCodes | None = None
    while True:
        model = basis.source.clone()
        plan = make_plan(model.graph, kept, options.qdq)
        single = find_weights_only(model.graph, kept, options.form)
        if not single and not any(unit.operator.kind == "compute" for unit in plan.units):
            return None
        watched = [str(value.name) for value in observed_values(plan)]
        ranges = {name: basis.ranges[name] for name in watched}
        names = {value: str(value.name) for value in plan.quantized_values()}
        grids = assign_grids(plan, ranges)
        if codes is None:
            codes = quantize_weights(
                plan, grids, basis.statistics, basis.covariances, options, known=basis.rounded
            )
        insert_qdq(model.graph, plan, grids, shifts or {}, codes.weights)
        levels = place_weights_only(model, single, target_cpu=options.target_cpu)
        KeepSumsApart()(model)
        ShieldPooling()(model)
        _forget_inferred_types(model.graph)
        fusion = examine_fusion(model, plan)
        if fusion.unfused:
            kept.update(fusion.unfused)
            shifts, codes = (None if correct else {}), None
        elif shifts is None:
            shifts = measure_bias_shifts(
                basis.source, model, plan, data, options=options, known=basis.means
            )
        else:
            biased = any(unit.takes_bias and unit.weight is not None for unit in plan.units)
            corrected = bool(shifts) or not biased or not correct
            codes = replace(codes, levels={**codes.levels, **levels})
            return QuantizedCandidate(
                model, basis, plan, fusion, codes, ranges, names, kept, tuple(single), corrected
            )


def score(
    reference: ir.Model | Runtime,
    model: ir.Model,
    data: Dataset,
    options: QuantizeOptions,
    *,
    samples: int = SCORE_SAMPLES,
) -> Score:
    """Compare ``model`` with ``reference`` on some samples from all over ``data``.

    A ``RememberingRuntime`` as the reference runs once for all that is compared with it.
    """
    found = check(
        reference,
        model,
        spread(data, samples, SCORE_SEED).without_labels(),
        min_agreement=0.0,
        min_sqnr=-math.inf,
        stress="none",  # what is found is judged under stress
        threads=options.threads,
    )
    if any(output.problem for output in found.outputs):
        return Score(-math.inf, 0.0, found.samples)
    return Score(
        min((o.sqnr_db for o in found.outputs if o.sqnr_db is not None), default=math.inf),
        min(
            (o.agreement for o in that_agree(found.outputs) if o.agreement is not None),
            default=1.0,
        ),
        found.samples,
    )


def _forget_inferred_types(graph: ir.Graph) -> None:
    """Leave out of the file what shape inference finds again: INT8 files are small."""
    computed = (value for node in graph for value in node.outputs)
    for value in (*computed, *graph.initializers.values()):
        if not value.is_graph_output() and not value.is_graph_input():
            value.type, value.shape = None, None
