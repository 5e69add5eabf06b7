"""The codes of all weights of a plan: how many levels, and which way each is rounded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import onnx_ir as ir

from quantizers.calibration.calibrate import calibrate
from quantizers.calibration.covariance import LARGEST, CovarianceObserver, kernel_inputs
from quantizers.calibration.scales import QuantizationParameters
from quantizers.calibration.statistics import Statistics, spread
from quantizers.options import QuantizeOptions, Rounding
from quantizers.policy.plan import Plan, Unit
from quantizers.weights.int8 import WEIGHT_LEVELS, QuantizedWeight, quantize_weight, weight_scale
from quantizers.weights.rounding import (
    Elimination,
    Grouped,
    eliminate,
    learn_rounding,
    round_in_turn,
)
from quantizers.weights.saturation import code_range, kernel_order, largest_pair_sum, safe_levels
from runtimes.base import Array
from runtimes.data.dataset import Dataset

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
    source: ir.Model,
    plan: Plan,
    data: Dataset,
    options: QuantizeOptions,
    *,
    bias_corrected: bool = True,
) -> dict[str, Array]:
    """Covariance of the inputs of each unit's kernel in the float model, by unit name.

    ``plan`` is of ``source``. As many units at a time as the memory holds; units without a
    matrix form, or with too many inputs, are left out. Where biases are not ``bias_corrected``
    later, the inputs' means count, too.
    """
    data = spread(data, _SAMPLES)
    sizes = {}
    for unit in plan.units:
        inputs = kernel_inputs(unit) if unit.weight is not None else None
        if inputs is not None and inputs <= LARGEST:
            sizes[unit] = 8 * unit.operator.groups(unit.node) * inputs * inputs
    found: dict[str, Array] = {}
    chunk: list[Unit] = []
    total = 0
    for unit, size in sizes.items():
        if chunk and total + size > options.memory_bytes:
            found.update(_observe(source, chunk, data, options, bias_corrected))
            chunk, total = [], 0
        chunk.append(unit)
        total += size
    found.update(_observe(source, chunk, data, options, bias_corrected))
    return found


def quantize_weights(
    plan: Plan,
    grids: Mapping[ir.Value, QuantizationParameters],
    statistics: Statistics,
    covariances: Mapping[str, Array],
    options: QuantizeOptions,
    *,
    known: Memory | None = None,
) -> WeightCodes:
    """Codes of every weight in ``plan``; ``covariances`` by unit name, where they are known.

    A weight that several units read has the same codes for all.
    ``known`` remembers what was rounded; share it between calls with the same model, covariances
    and rounding only.
    """
    known = {} if known is None else known
    weights: dict[str, QuantizedWeight] = {}
    fewest: dict[str, int] = {}
    for units in plan.weight_groups():
        layer = _Layer(units[0], covariances, known)
        if options.target_cpu == "vnni" or options.qdq.symmetric:  # no such CPU runs it
            found = layer.codes(None, options.rounding)
        else:
            seen = [_Seen.by(unit, grids, statistics) for unit in units]
            found, levels = _without_saturation(layer, seen, options.rounding)
            fewest.update({unit.name: int(levels.min()) for unit in units})
        weights.update({unit.name: found for unit in units})
    return WeightCodes(weights, fewest)


@dataclass(frozen=True)
class _Seen:
    """A unit, and the grid and the values, ``[channels]`` or ``[]``, of what it reads."""

    unit: Unit
    grid: QuantizationParameters
    low: Array
    high: Array

    @classmethod
    def by(
        cls, unit: Unit, grids: Mapping[ir.Value, QuantizationParameters], statistics: Statistics
    ) -> _Seen:
        grid, name = grids[unit.data[0]], str(unit.data[0].name)
        if name in statistics.observers:
            return cls(unit, grid, *statistics.channels(name))
        return cls(unit, grid, np.asarray(grid.low), np.asarray(grid.high))

    def levels(self) -> Array:
        """Levels that each scale of the weight may have, ``[scales]``."""
        levels = safe_levels(self.unit, self.grid, self.low, self.high)
        return levels.min(keepdims=True) if self.unit.weight_axis is None else levels

    def saturates(self, weight: QuantizedWeight) -> Array:
        """Behind which scales sums can reach beyond 16 bits, ``[scales]`` bool."""
        ordered = kernel_order(self.unit, weight.codes)
        if ordered is None:
            return np.zeros(1, dtype=bool)
        seen = code_range(self.unit, self.grid, self.low, self.high, ordered.shape[1])
        over = largest_pair_sum(ordered, seen) > 1
        return np.asarray([over.any()]) if self.unit.weight_axis is None else over


def _without_saturation(
    layer: _Layer, seen: Sequence[_Seen], rounding: Rounding
) -> tuple[QuantizedWeight, Array]:
    """Codes with which nothing that reads the weight saturates, and their levels."""

    def over(weight: QuantizedWeight) -> Array:
        rows = np.broadcast_arrays(*(one.saturates(weight) for one in seen))
        return np.asarray(np.any(rows, axis=0))

    levels = np.min([one.levels() for one in seen], axis=0)
    quick: Rounding = "in turn" if rounding == "learned" else rounding
    found = layer.codes(levels, quick)
    while (rows := over(found)).any():
        levels = np.where(rows, np.floor(levels * _LEVELS_STEP), levels)
        found = layer.changed(found, levels, quick, rows)
    if rounding == "learned":
        learned = layer.codes(levels, rounding)
        if not over(learned).any():
            found = learned
    return found, levels


def _observe(
    source: ir.Model,
    units: list[Unit],
    data: Dataset,
    options: QuantizeOptions,
    bias_corrected: bool,
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
    # Summed in double precision, kept in single: those of a ResNet50 take half a gigabyte so.
    found = {
        unit.name: observers[unit.name].covariance(centered=unit.takes_bias and bias_corrected)
        for unit in units
    }
    return {name: covariance.astype(np.float32) for name, covariance in found.items()}


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


@dataclass(frozen=True)
class _Layer:
    """A unit whose weight is rounded, more than once perhaps."""

    unit: Unit
    covariances: Mapping[str, Array]
    known: Memory

    @cached_property
    def covariance(self) -> Array | None:
        """That of the unit's inputs, where it is known; asked for only where codes are not."""
        return self.covariances.get(self.unit.name)

    def codes(self, levels: Array | None, rounding: Rounding) -> QuantizedWeight:
        """The codes for ``levels``, a number an output; those known from before where there are."""
        key = (self.unit.name, rounding, b"" if levels is None else levels.tobytes())
        if key not in self.known:
            self.known[key] = self._round(levels, rounding, None)
        return self.known[key]

    def changed(
        self, found: QuantizedWeight, levels: Array, rounding: Rounding, rows: Array
    ) -> QuantizedWeight:
        """``found`` with the outputs ``rows`` (bool) rounded anew for ``levels``."""
        axis, key = found.axis, (self.unit.name, rounding, levels.tobytes())
        if axis is None or key in self.known:
            return self.codes(levels, rounding)
        if self.covariance is not None and len(self.covariance) > 1:
            return self.codes(levels, rounding)
        part = self._round(levels, rounding, rows)
        codes, scale = np.moveaxis(found.codes.copy(), axis, 0), found.scale.copy()
        codes[rows], scale[rows] = np.moveaxis(part.codes, axis, 0), part.scale
        self.known[key] = QuantizedWeight(np.moveaxis(codes, 0, axis), scale, axis)
        return self.known[key]

    @cached_property
    def _elimination(self) -> Elimination:
        assert self.covariance is not None
        return eliminate(self.covariance)

    def _round(
        self, levels: Array | None, rounding: Rounding, chosen: Array | None
    ) -> QuantizedWeight:
        """Codes of the ``chosen`` outputs (bool), or of all."""
        weight, axis = self.unit.weight_array(), self.unit.weight_axis
        limit: Array | float = float(WEIGHT_LEVELS) if levels is None else levels
        if axis is None and levels is not None:
            limit = float(levels.min())
        if chosen is not None and axis is not None and levels is not None:
            weight, limit = np.compress(chosen, weight, axis), levels[chosen]
        scale = weight_scale(weight, axis, levels=limit)
        if self.covariance is None or rounding == "nearest" or axis is None:
            return quantize_weight(weight, scale, axis)
        rows = weight if axis == 0 else weight.T
        groups = len(self.covariance)
        shape = (groups, rows.shape[0] // groups, -1)
        layer = Grouped(
            weight=rows.reshape(shape).astype(np.float64),
            scale=scale.reshape(shape).astype(np.float64),
            levels=np.broadcast_to(limit, len(rows)).reshape(shape).astype(np.float64),
            covariance=self.covariance,
            elimination=self._elimination,
        )
        codes = learn_rounding(layer) if rounding == "learned" else round_in_turn(layer)
        flat = codes.reshape(rows.shape)
        return QuantizedWeight((flat if axis == 0 else flat.T).astype(np.int8), scale, axis)
