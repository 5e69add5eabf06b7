"""What calibration knows of a model's activations, in a form that adds up.

Statistics of two shards of the data merge into those of the whole, so that shards can be
calibrated apart, on several machines say, and ``quantize_model`` be given the sum.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from quantizers.calibration.calibrate import Passes, calibrate
from quantizers.calibration.far_constants import FarConstant, find_constants
from quantizers.calibration.kept_samples import HISTOGRAM_SAMPLES
from quantizers.calibration.observers import HistogramObserver, MinMaxObserver, Range
from quantizers.calibration.range_selection import ChosenRange, choose_range
from quantizers.options import DEFAULT_OPTIONS, QuantizeOptions
from quantizers.policy.plan import Plan, make_plan
from quantizers.rewrites.prepare import prepare
from runtimes.base import Array
from runtimes.data.dataset import Dataset
from runtimes.errors import DataError
from runtimes.onnx_files.load_save import model_inputs
from runtimes.progress import Progress


@dataclass
class Statistics:
    """The range of every activation that could lie on a grid, whole and by channels.

    ``observers`` by the name of the value. Made by ``collect_statistics``.
    """

    observers: dict[str, MinMaxObserver] = field(default_factory=dict)
    samples: int = 0

    def merge(self, other: Statistics) -> Statistics:
        """The statistics of both halves of the data.

        Raises ``DataError`` where they are not of the same model.
        """
        if self.observers.keys() != other.observers.keys():
            raise DataError("the statistics are not of the same model: they name other values")
        merged = {name: one.merge(other.observers[name]) for name, one in self.observers.items()}
        return Statistics(merged, self.samples + other.samples)

    def of(self, names: Iterable[str]) -> Statistics:
        """The statistics of these values alone; ``DataError`` where one was not observed."""
        try:
            return Statistics({name: self.observers[name] for name in names}, self.samples)
        except KeyError as error:
            raise DataError(
                f"the statistics are of another model: they do not know the value {error}"
            ) from error

    def range(self, name: str) -> Range:
        """The smallest and the largest value seen."""
        return self.observers[name].range()

    def channels(self, name: str) -> tuple[Array, Array]:
        """Smallest and largest value of every channel; of the whole where not known."""
        return self.observers[name].channels()

    def peaks(self) -> dict[str, Array]:
        """Largest magnitude of every channel, by value name, where it is known by channels."""
        found = {name: observer.channels() for name, observer in self.observers.items()}
        return {
            name: np.maximum(np.abs(low), np.abs(high)).astype(np.float64)
            for name, (low, high) in found.items()
            if low.ndim == 1
        }


@dataclass
class Distributions:
    """Histograms over the ranges of ``Statistics``; those of two shards merge."""

    observers: dict[str, HistogramObserver] = field(default_factory=dict)

    def merge(self, other: Distributions) -> Distributions:
        """The distributions of both halves, which must rest on the same statistics."""
        return Distributions(
            {name: one.merge(other.observers[name]) for name, one in self.observers.items()}
        )

    def chosen(self) -> dict[str, ChosenRange]:
        """The range of the least squared error for every value."""
        return {name: choose_range(observer) for name, observer in self.observers.items()}


def collect_statistics(
    model: ir.Model,
    data: Dataset,
    *,
    options: QuantizeOptions = DEFAULT_OPTIONS,
    progress: Progress | None = None,
) -> Statistics:
    """Run ``model`` over ``data`` once and remember ranges, in memory that does not grow.

    Args:
        model: As ``quantize_model`` takes it.
        data: Samples that calibrate.
        options: As ``quantize_model`` takes them.
        progress: Called with the samples done.

    Returns:
        The ranges, for the ``statistics`` of ``quantize_model``.

    Raises:
        DataError: There are no samples, or an activation is NaN or infinite; names the node.

    Example:
        >>> collect_statistics(load_model("model.onnx"), Dataset.open("samples.npz")).samples
        64
    """
    source = prepare(model)
    plan = make_plan(source.graph, form=options.qdq)
    return observe(source, plan, data.bind(model_inputs(source)), options, progress)


def observe(
    source: ir.Model,
    plan: Plan,
    data: Dataset,
    options: QuantizeOptions,
    progress: Progress | None = None,
    *,
    passes: Passes | None = None,
) -> Statistics:
    """``collect_statistics`` of a prepared model and a plan for it."""
    observers = {
        str(value.name): MinMaxObserver(_channel_axis(value, plan))
        for value in plan.possible_values()
    }
    samples = calibrate(source, data, observers, options=options, passes=passes, progress=progress)
    return Statistics(observers, samples)


def observe_distributions(
    source: ir.Model, statistics: Statistics, data: Dataset, options: QuantizeOptions
) -> tuple[Distributions, dict[str, FarConstant]]:
    """Histograms of the values of ``statistics`` over a part of the data.

    Also gives the values of which a part is a constant far from all the rest. Where such a
    constant is too rare to set a scale, the histogram is that of the rest.
    """
    data = spread(data, HISTOGRAM_SAMPLES)
    ranges = {name: statistics.range(name) for name in statistics.observers}
    found = {name: HistogramObserver(span) for name, span in ranges.items()}
    calibrate(source, data, found, options=options)
    constants = find_constants(found, lambda more: calibrate(source, data, more, options=options))
    rest = {name: HistogramObserver(one.rest) for name, one in constants.items() if one.rare}
    if rest:
        calibrate(source, data, rest, options=options)
    return Distributions({**found, **rest}), constants


def spread(data: Dataset, samples: int, seed: int = 0) -> Dataset:
    """About ``samples`` of ``data``, from all over it: files are often sorted by class."""
    return data.take(samples) if data.num_samples is None else data.sampled(samples, seed)


def scaled(statistics: Statistics, factors: Mapping[str, Array]) -> Statistics:
    """The statistics after the channels of some values were multiplied by ``factors``."""
    observers = {
        name: observer.scaled(factors[name]) if name in factors else observer
        for name, observer in statistics.observers.items()
    }
    return Statistics(observers, statistics.samples)


def shifted(statistics: Statistics, offsets: Mapping[str, Array]) -> Statistics:
    """The statistics after the channels of some values became smaller by ``offsets``."""
    observers = {
        name: observer.shifted(offsets[name]) if name in offsets else observer
        for name, observer in statistics.observers.items()
    }
    return Statistics(observers, statistics.samples)


def _channel_axis(value: ir.Value, plan: Plan) -> int | None:
    for unit in plan.readers(value):
        if unit.weight is not None:
            return unit.channel_axis
    unit_before = plan.producer(value)
    if unit_before is not None and unit_before.weight is not None:
        return unit_before.channel_axis
    size = None if value.shape is None else len(value.shape)
    if size == 4:
        return 1
    return -1 if size in (2, 3) else None
