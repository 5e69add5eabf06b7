"""The codes of all weights of a plan: how many levels, and which way each is rounded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from converter.passes.values import constant, is_op
from quantizers.calibrate import calibrate
from quantizers.covariance import LARGEST, CovarianceObserver, kernel_inputs
from quantizers.options import QuantizeOptions
from quantizers.plan import Plan, Unit
from quantizers.rounding import Grouped, learn_rounding, round_in_turn
from quantizers.saturation import code_range, kernel_order, largest_pair_sum, safe_levels
from quantizers.scales import Grid
from quantizers.statistics import Statistics, spread
from quantizers.weights import WEIGHT_LEVELS, QuantizedWeight, quantize_weight, weight_scale
from runtimes.base import Array
from runtimes.dataset import Dataset

_SAMPLES = 64
_LEVELS_STEP = 0.97


Memory = dict[tuple[str, str, bytes], QuantizedWeight]
"""Codes by unit name, rounding and levels."""


@dataclass(frozen=True)
class WeightCodes:
    """``weights``: codes by unit name. ``levels``: the fewest levels a unit's channels have."""

    weights: Mapping[str, QuantizedWeight]
    levels: Mapping[str, int]


def observe_covariances(
    source: ir.Model, plan: Plan, data: Dataset, options: QuantizeOptions
) -> dict[str, Array]:
    """Covariance of the inputs of each unit's kernel in the float model, by unit name.

    ``plan`` is of ``source``. As many units at a time as the memory holds; units without a
    matrix form, or with too many inputs, are left out.
    """
    data = spread(data, _SAMPLES)
    sizes = {}
    for unit in plan.units:
        inputs = kernel_inputs(unit) if unit.weight is not None else None
        if inputs is not None and inputs <= LARGEST:
            groups = unit.node.attributes.get_int("group", 1) if is_op(unit.node, "Conv") else 1
            sizes[unit] = 8 * groups * inputs * inputs
    found: dict[str, Array] = {}
    chunk: list[Unit] = []
    total = 0
    for unit, size in sizes.items():
        if chunk and total + size > options.memory_bytes:
            found.update(_observe(source, chunk, data, options))
            chunk, total = [], 0
        chunk.append(unit)
        total += size
    found.update(_observe(source, chunk, data, options))
    return found


def quantize_weights(
    plan: Plan,
    grids: Mapping[ir.Value, Grid],
    statistics: Statistics,
    covariances: Mapping[str, Array],
    options: QuantizeOptions,
    *,
    known: Memory | None = None,
) -> WeightCodes:
    """Codes of every weight in ``plan``; ``covariances`` by unit name, where they are known.

    ``known`` remembers what was rounded; share it between calls with the same model, covariances
    and rounding only.
    """
    known = {} if known is None else known
    weights: dict[str, QuantizedWeight] = {}
    fewest: dict[str, int] = {}
    for unit in plan.units:
        weight, axis = constant(unit.weight), unit.rule.weight_axis(unit.node)
        if weight is None:
            continue
        covariance = covariances.get(unit.name)
        grid, name = grids[unit.data[0]], str(unit.data[0].name)
        if options.target_cpu == "vnni":
            weights[unit.name] = _codes(unit, None, covariance, options, known)
            continue
        if name in statistics.observers:
            low, high = statistics.channels(name)
        else:
            low, high = np.asarray(grid.low), np.asarray(grid.high)
        levels = safe_levels(unit, grid, low, high)
        if axis is None:
            levels = levels.min(keepdims=True)
        quick = replace(options, rounding="in turn") if options.rounding == "learned" else options
        found = _codes(unit, levels, covariance, quick, known)
        while _saturates(unit, found, grid, low, high).any():
            over = _saturates(unit, found, grid, low, high)
            over = over if axis is not None else np.asarray([over.any()])
            levels = np.where(over, np.floor(levels * _LEVELS_STEP), levels)
            found = _codes(unit, levels, covariance, quick, known)
        if options.rounding == "learned":
            learned = _codes(unit, levels, covariance, options, known)
            if not _saturates(unit, learned, grid, low, high).any():
                found = learned
        weights[unit.name] = found
        fewest[unit.name] = int(levels.min())
    return WeightCodes(weights, fewest)


def _saturates(unit: Unit, weight: QuantizedWeight, grid: Grid, low: Array, high: Array) -> Array:
    """Which outputs of ``unit`` can reach beyond 16 bits, ``[outputs]`` bool."""
    ordered = kernel_order(unit, weight.codes)
    if ordered is None:
        return np.zeros(1, dtype=bool)
    seen = code_range(unit, grid, low, high, ordered.shape[1])
    return largest_pair_sum(ordered, seen) > 1


def _observe(
    source: ir.Model, units: list[Unit], data: Dataset, options: QuantizeOptions
) -> dict[str, Array]:
    if not units:
        return {}
    observers = {unit.name: CovarianceObserver(unit) for unit in units}
    by_value: dict[str, _Several] = {}
    for unit in units:
        by_value.setdefault(str(unit.data[0].name), _Several([])).observers.append(
            observers[unit.name]
        )
    calibrate(source, data, by_value, options=options)
    return {unit.name: observers[unit.name].covariance(centered=unit.takes_bias) for unit in units}


@dataclass(frozen=True)
class _Several:
    """Several observers of one value."""

    observers: list[CovarianceObserver]

    def update(self, batch: Array) -> None:
        for observer in self.observers:
            observer.update(batch)

    def merge(self, other: _Several) -> _Several:
        pairs = zip(self.observers, other.observers, strict=True)
        return _Several([one.merge(two) for one, two in pairs])


def _codes(
    unit: Unit,
    levels: Array | None,
    covariance: Array | None,
    options: QuantizeOptions,
    known: Memory,
) -> QuantizedWeight:
    key = (unit.name, options.rounding, b"" if levels is None else levels.tobytes())
    if key not in known:
        known[key] = _round(unit, levels, covariance, options)
    return known[key]


def _round(
    unit: Unit, levels: Array | None, covariance: Array | None, options: QuantizeOptions
) -> QuantizedWeight:
    weight, axis = constant(unit.weight), unit.rule.weight_axis(unit.node)
    assert weight is not None
    limit: Array | float = float(WEIGHT_LEVELS) if levels is None else levels
    if axis is None and levels is not None:
        limit = float(levels.min())
    scale = weight_scale(weight, axis, levels=limit)
    if covariance is None or options.rounding == "nearest" or axis is None:
        return quantize_weight(weight, scale, axis)
    rows = weight if axis == 0 else weight.T
    groups = len(covariance)
    shape = (groups, rows.shape[0] // groups, -1)
    layer = Grouped(
        weight=rows.reshape(shape).astype(np.float64),
        scale=scale.reshape(shape).astype(np.float64),
        levels=np.broadcast_to(limit, len(rows)).reshape(shape).astype(np.float64),
        covariance=covariance,
    )
    codes = learn_rounding(layer) if options.rounding == "learned" else round_in_turn(layer)
    flat = codes.reshape(rows.shape)
    return QuantizedWeight((flat if axis == 0 else flat.T).astype(np.int8), scale, axis)
