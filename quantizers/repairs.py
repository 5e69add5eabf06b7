"""Repairs of the float model, tried one by one and kept where the INT8 model gains by them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import onnx_ir as ir

from quantizers.calibration.covariance import ScaledCovariances
from quantizers.calibration.statistics import (
    Statistics,
    observe_distributions,
    scaled,
    shifted,
)
from quantizers.equalization.bias_absorption import absorb_biases, smaller_values
from quantizers.equalization.cross_layer import equalize_channels
from quantizers.mixed_precision.candidate import (
    CalibratedModel,
    FloatModel,
    QuantizedCandidate,
    build_candidate,
    score,
)
from quantizers.options import QuantizeOptions
from quantizers.policy.plan import make_plan
from quantizers.weights.bias_correction import Means
from quantizers.weights.codes import observe_covariances
from runtimes.base import Array
from runtimes.data.dataset import Dataset

# What a repair has to gain, dB, so that chance does not decide.
_LEAST_GAIN_DB = 0.1

# Values beyond a cut are rare: what was gained without them is lost again where they occur.
_LEAST_GAIN_OF_CUTS_DB = 0.5

# Any layer gains some in float; a constant on the wrong grid costs more than that.
_LEAST_GAIN_OF_FLOAT_DB = 10.0

_WITHOUT_CONSTANT = "min-max without a constant"


class Attempt(Protocol):
    """Builds a candidate, and keeps it where the whole model gains enough by it."""

    def __call__(
        self, basis: CalibratedModel, least_gain: float, kept: Mapping[str, str] | None = None
    ) -> None:
        """``least_gain`` in dB; ``kept``: what stays in float, if that changes."""


def repaired(
    floats: FloatModel, statistics: Statistics, data: Dataset, options: QuantizeOptions
) -> QuantizedCandidate | None:
    """Try each repair, and keep it where the whole model gets better by it."""
    source = floats.source
    best: QuantizedCandidate | None = None
    reached = -math.inf

    def attempt(
        basis: CalibratedModel, least_gain: float, kept: Mapping[str, str] | None = None
    ) -> None:
        nonlocal best, reached
        kept = kept or (best.kept if best else floats.kept)
        found = build_candidate(basis, kept, data, options)
        if found is not None:
            gained = score(floats.reference, found.model, data, options).sqnr_db
            if best is None or gained >= reached + least_gain:
                best, reached = found, gained

    plain = _basis(source, statistics, data, options)
    attempt(plain, 0.0)
    if best is None:
        return None
    _hold_apart(best, attempt)
    if options.equalize:
        equal = source.clone()
        factors = equalize_channels(equal, statistics.peaks())
        if factors:
            known = _equalized(plain, factors, options)
            found = _basis(equal, scaled(statistics, factors), data, options, known)
            attempt(replace(found, equalized=len(factors)), _LEAST_GAIN_DB)
        _absorb(best.basis, data, options, attempt)
    if options.choose_ranges:
        chosen = best.basis.distributions.chosen()
        cut = {name: one for name, one in chosen.items() if one.method != "min-max"}
        if cut:
            ranges = {**best.basis.ranges, **{name: one.span for name, one in cut.items()}}
            methods = {**best.basis.methods, **{name: one.method for name, one in cut.items()}}
            attempt(replace(best.basis, ranges=ranges, methods=methods), _LEAST_GAIN_OF_CUTS_DB)
    return best


def _hold_apart(best: QuantizedCandidate, attempt: Attempt) -> None:
    """Try other ways with values that hold a constant far from the rest, and often."""
    constants = best.basis.constants
    doubtful = {
        name: one
        for name, one in constants.items()
        if name in best.ranges and not one.rare and not one.few_values
    }
    if not doubtful:
        return
    narrow = {name: one.rest for name, one in doubtful.items()}
    methods = {**best.basis.methods, **dict.fromkeys(narrow, _WITHOUT_CONSTANT)}
    ranges = {**best.basis.ranges, **narrow}
    attempt(replace(best.basis, ranges=ranges, methods=methods), _LEAST_GAIN_OF_CUTS_DB)
    kept = dict(best.kept)
    plan = make_plan(
        best.basis.source.graph, kept, best.plan.form
    )  # that of ``best`` is of the rewritten graph
    for value in plan.quantized_values():
        name = str(plan.source(value).name)
        for unit in plan.readers(value):
            if name in doubtful and not unit.moves:
                kept[unit.name] = f"INT8 cannot hold both parts of {name!r}: {doubtful[name]}"
    attempt(best.basis, _LEAST_GAIN_OF_FLOAT_DB, kept)


def _absorb(
    basis: CalibratedModel,
    data: Dataset,
    options: QuantizeOptions,
    attempt: Attempt,
) -> None:
    """Try the model with the constant parts of its channels in the biases behind them."""
    bounds = {name: one.channels() for name, one in basis.statistics.observers.items()}
    absorbed = basis.source.clone()
    moved = absorb_biases(absorbed, bounds)
    if moved:
        statistics = shifted(basis.statistics, smaller_values(absorbed.graph, moved))
        found = _basis(absorbed, statistics, data, options)
        attempt(replace(found, equalized=basis.equalized, absorbed=len(moved)), _LEAST_GAIN_DB)


@dataclass(frozen=True)
class _Known:
    """What need not be measured of a float model."""

    covariances: Mapping[str, Array]
    means: Means


def _equalized(
    plain: CalibratedModel, factors: Mapping[str, Array], options: QuantizeOptions
) -> _Known:
    """What is known of ``plain`` once channels of its values are multiplied by ``factors``."""
    read = {
        unit.name: factors[str(unit.data[0].name)]
        for unit in make_plan(plain.source.graph, form=options.qdq).units
        if unit.data and str(unit.data[0].name) in factors
    }
    means = {key: mean * factors.get(key[0], 1.0) for key, mean in plain.means.items()}
    return _Known(ScaledCovariances(plain.covariances, read), means)


def _basis(
    source: ir.Model,
    statistics: Statistics,
    data: Dataset,
    options: QuantizeOptions,
    known: _Known | None = None,
) -> CalibratedModel:
    """What is known of ``source``, with all of every range covered but for rare constants."""
    if known is None:
        covariances: Mapping[str, Array] = {}
        if options.rounding != "nearest":
            plan = make_plan(source.graph, form=options.qdq)
            covariances = observe_covariances(source, plan, data, options)
        known = _Known(covariances, {})
    distributions, constants = observe_distributions(source, statistics, data, options)
    rest = {name: one.rest for name, one in constants.items() if one.rare}
    ranges = {name: statistics.range(name) for name in statistics.observers} | rest
    methods = dict.fromkeys(ranges, "min-max") | dict.fromkeys(rest, _WITHOUT_CONSTANT)
    return CalibratedModel(
        source,
        statistics,
        ranges,
        methods,
        known.covariances,
        distributions,
        constants,
        means=known.means,
    )
