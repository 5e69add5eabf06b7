"""Deciding by what kernels cost which operators run in INT8.

No clock is read here: times come from the cost table, so that the same table decides the same. One
mixture is found by what kernels should take, which is the same for all tables; the one found by the
table takes its place only where it is better by more than tables differ.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import onnx_ir as ir

from quantizers.calibration.calibrate import bytes_per_sample
from quantizers.mixed_precision.candidate import (
    FloatModel,
    QuantizedCandidate,
    Score,
    build_candidate,
    score,
)
from quantizers.mixed_precision.min_cut_search import cheapest_floats
from quantizers.mixed_precision.operator_costs import Cost, boundary_costs, operator_costs
from quantizers.mixed_precision.shared_sensitivity import shared_sensitivities
from quantizers.options import QuantizeOptions
from quantizers.policy.plan import Plan, make_plan
from runtimes.base import Feed
from runtimes.costs import Costs, open_costs, search_costs
from runtimes.data.dataset import Dataset
from runtimes.engines.runtime import Runtime
from runtimes.engines.timed_feeds import timed_feeds
from runtimes.onnx_files.load_save import model_inputs, weight_bytes
from runtimes.onnx_graph.values import constant
from runtimes.progress import Progress, silent

# Sums over kernels tell two models apart by this much at least.
_NOISE = 0.02

# Millionths of the model's time for a noise that fills the bound alone, times a hundredth; the
# price is raised fourfold at a time.
_FIRST_PRICE = 14_000.0
_MOST_PRICES = 6
_HIGHEST_PRICE = 1e15

_FEW_SAMPLES = 100
# The 95% quantile of the normal distribution.
_ONE_SIDED = 1.645

# Millionths of the model's time: what gains less is not worth a conversion more.
_LEAST_SAVING = 5_000.0

# What a decibel of SQNR is worth, as a share of the model's time, and up to where. Operators whose
# INT8 gains less than their noise costs by that go back to float, floors or no floors.
_WORTH_OF_A_DECIBEL = 0.01
_ENOUGH_DB = 45.0
_MOST_TRADES = 4

# What the whole size of a model is worth, as a share of its time.
_WORTH_OF_THE_SIZE = 0.1

# By so much of the float model's time two tables of one machine may differ about one mixture.
_TABLES_DIFFER = 0.06

# Conversions may cost more than estimated, in layout changes and fusions that they prevent: while
# nothing is gained over float, their estimate is raised.
_CONVERSIONS = (1.0, 2.0, 4.0)


Accept = Callable[[ir.Model], bool]


@dataclass(frozen=True)
class Choice:
    """``built``: the mixture chosen. ``costs`` and ``sensitivities`` (dB) by operator name."""

    built: QuantizedCandidate
    costs: Mapping[str, Cost]
    sensitivities: Mapping[str, float]
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class _Measured:
    """What the search knows. ``saved``: worth of the bytes that each operator saves.

    ``told``: costs by the cost table, which reasons tell of, whatever ``costs`` decide by;
    ``sizes``: numbers in each value that may be converted, for one sample.
    """

    source: ir.Model
    reference: Runtime
    full: QuantizedCandidate
    data: Dataset
    options: QuantizeOptions
    costs: Mapping[str, Cost]
    sensitivities: Mapping[str, float]
    plan: Plan
    boundaries: Mapping[str, float]
    saved: Mapping[str, float]
    feeds: Sequence[Feed]
    table: Costs
    told: Mapping[str, Cost]
    sizes: Mapping[str, int]
    known: dict[int, tuple[ir.Model, list[float]]] = field(default_factory=dict)

    def floats_at(self, price: float, conversion_cost_factor: float) -> set[str]:
        """The operators that are better in float where noise has that price."""
        noise = {name: 10 ** (-decibels / 10) for name, decibels in self.sensitivities.items()}
        boundaries = {name: cost * conversion_cost_factor for name, cost in self.boundaries.items()}
        costs = {
            name: replace(cost, float_time=cost.float_time + self.saved.get(name, 0.0))
            for name, cost in self.costs.items()
        }
        floats = cheapest_floats(self.plan, costs, boundaries, noise, price)
        for one in self.full.weights_only:
            cost = costs[one.name]
            slower = cost.int8_time * (1 - 2 * _NOISE) > cost.float_time
            if slower or price * noise.get(one.name, 0.0) > cost.float_time:
                floats.add(one.name)
        return floats

    def saving(self, floats: set[str]) -> float:
        """What ``floats`` take longer in INT8 than in float, conversions left out."""
        costs = (self.costs[name] for name in floats if name in self.costs)
        return sum(max(0.0, cost.int8_time - cost.float_time) for cost in costs)

    def mixture(self, floats: set[str], price: float) -> QuantizedCandidate | None:
        """The model with ``floats`` in float; None where nothing is left in INT8."""
        reasons = {name: _why(name, self.told, self.sensitivities, price) for name in floats}
        kept = {**self.full.kept, **reasons}
        return build_candidate(self.full.basis, kept, self.data, self.options)

    def score(self, built: QuantizedCandidate) -> Score:
        """How near ``built`` is to the float model on calibration data."""
        return score(self.reference, built.model, self.data, self.options)

    def gains(self, one: ir.Model, other: ir.Model) -> list[float]:
        """Logarithm of how much faster ``one`` is than ``other``, at every batch size."""
        pairs = zip(self.latencies(one), self.latencies(other), strict=True)
        return [math.log(theirs / own) for own, theirs in pairs]

    def latencies(self, model: ir.Model) -> list[float]:
        """Microseconds of ``model`` at every batch size; models do not change here."""
        if id(model) not in self.known:
            found = [self.table.latencies([model], feed)[0] for feed in self.feeds]
            self.known[id(model)] = model, found
        return self.known[id(model)][1]

    def is_faster(self, one: ir.Model, other: ir.Model) -> bool:
        """Whether ``one`` is faster over all, and slower at no batch size."""
        gains = self.gains(one, other)
        return sum(gains) > _NOISE * len(gains) and min(gains) > -_NOISE

    def times(self, model: ir.Model) -> list[float]:
        """Time of ``model`` as a share of the float model's, by batch size."""
        return [math.exp(-gain) for gain in self.gains(model, self.source)]


@dataclass(frozen=True)
class _Mixture:
    """A model, what it has in float, and the factor on the estimated cost of conversions."""

    built: QuantizedCandidate
    floats: set[str]
    conversion_cost_factor: float


def choose_mixture(
    floats: FloatModel,
    full: QuantizedCandidate,
    data: Dataset,
    options: QuantizeOptions,
    accept: Accept | None = None,
    *,
    progress: Progress = silent,
) -> Choice:
    """The fastest mixture inside the floors of ``options``, starting from all that can be INT8.

    Where size is preferred, the smallest one. ``accept`` has the last word on a mixture: one that
    it refuses gets further operators in float.
    """
    measured = _measure(floats, full, data, options, progress)
    progress("choosing what runs in INT8")
    if not options.noise_counts:
        return Choice(_fastest(measured).built, measured.told, measured.sensitivities)
    by, traded = measured, _traded(measured)
    expected = search_costs(measured.table, options.threads or 1)
    if expected is not measured.table:
        steadily = _by(measured, expected)
        steady = _traded(steadily)
        if not _is_better(measured, traded, steady):
            by, traded = steadily, steady
    chosen, reached = _reach_floors(by, *traded, accept)
    notes = []
    if not _inside(reached, options):
        notes.append(
            "no mixture of INT8 and float reached the floors on the calibration data: "
            f"SQNR {reached.sqnr_db:.1f} dB, agreement {reached.agreement:.1%}"
        )
    return Choice(chosen.built, measured.told, measured.sensitivities, tuple(notes))


def _traded(measured: _Measured) -> tuple[_Mixture, Score]:
    """The mixture that is worth most by the table of ``measured``, floors or no floors."""
    full = measured.full
    if measured.options.prefer == "size":
        return _Mixture(full, set(), 1.0), measured.score(full)
    fastest = _fastest(measured)
    return _trade(measured, fastest, measured.score(fastest.built))


def _by(measured: _Measured, table: Costs) -> _Measured:
    """The same with times from another ``table``."""
    source, feeds = measured.source, measured.feeds
    return replace(
        measured,
        costs=operator_costs(source, measured.full, feeds, table),
        boundaries=boundary_costs(source, measured.plan, measured.sizes, feeds, table),
        table=table,
        known={},
    )


def _is_better(
    measured: _Measured, one: tuple[_Mixture, Score], other: tuple[_Mixture, Score]
) -> bool:
    """Whether ``one`` is worth more than ``other`` by more than tables differ, or alone inside."""
    inside = [_inside(score, measured.options) for _, score in (one, other)]
    if inside[0] != inside[1]:
        return inside[0]
    return _price(measured, *one) < _price(measured, *other) - _TABLES_DIFFER


def _price(measured: _Measured, mixture: _Mixture, reached: Score) -> float:
    """Time, size and noise of a mixture in one number, as a share of the float model's time."""
    model = mixture.built.model
    size = weight_bytes(model) / max(1, weight_bytes(measured.source))
    if measured.options.prefer == "size":
        return size
    times = measured.times(model)
    decibels = min(reached.sqnr_db, _ENOUGH_DB)
    return sum(times) / len(times) + _WORTH_OF_THE_SIZE * size - _WORTH_OF_A_DECIBEL * decibels


def _measure(
    floats: FloatModel,
    full: QuantizedCandidate,
    data: Dataset,
    options: QuantizeOptions,
    progress: Progress,
) -> _Measured:
    source, reference = floats.source, floats.reference
    progress("measuring what operators cost")
    table = options.costs or open_costs(threads=options.threads or 1, engine=options.qdq.provider)
    feeds = timed_feeds(data, model_inputs(source), options.batches)
    costs = operator_costs(source, full, feeds, table)
    names = [unit.name for unit in full.plan.units if unit.operator.kind == "compute"]
    names += [one.name for one in full.weights_only]
    sensitivities: Mapping[str, float] = {}
    if options.noise_counts:
        sensitivities = shared_sensitivities(
            floats, full.basis, names, data, options, progress=progress
        )
    # The plan of the INT8 graph has Q/DQ between; the search needs the float graph's.
    plan = make_plan(full.basis.source.graph, full.kept, options.qdq)
    sizes = _sizes(source, data, plan)
    boundaries = boundary_costs(source, plan, sizes, feeds, table)
    saved = {name: _worth_of_bytes(source, name) for name in names}
    return _Measured(
        source,
        reference,
        full,
        data,
        options,
        costs,
        sensitivities,
        plan,
        boundaries,
        saved,
        feeds,
        table,
        costs,
        sizes,
    )


def _fastest(measured: _Measured) -> _Mixture:
    """The fastest mixture, noise or no noise."""
    chosen = _Mixture(measured.full, set(), 1.0)
    for conversion_cost_factor in _CONVERSIONS:
        floats = measured.floats_at(0.0, conversion_cost_factor)
        if floats <= chosen.floats or measured.saving(floats - chosen.floats) < _LEAST_SAVING:
            continue
        built = measured.mixture(floats, 0.0)
        if built is None:
            break
        if measured.is_faster(built.model, chosen.built.model):
            chosen = _Mixture(built, floats, conversion_cost_factor)
        if measured.is_faster(chosen.built.model, measured.source):
            break
    return chosen


def _trade(measured: _Measured, chosen: _Mixture, reached: Score) -> tuple[_Mixture, Score]:
    """Return to float what costs more decibels than its time is worth."""
    times: list[float] | None = None
    for _ in range(_MOST_TRADES):
        price = _price_of_noise(reached.sqnr_db)
        floats = chosen.floats | measured.floats_at(price, chosen.conversion_cost_factor)
        if reached.sqnr_db >= _ENOUGH_DB or floats == chosen.floats:
            break
        built = measured.mixture(floats, price)
        if built is None:
            break
        found = measured.score(built)
        gained = min(found.sqnr_db, _ENOUGH_DB) - reached.sqnr_db
        if gained <= 0:
            break
        if times is None:
            times = measured.times(chosen.built.model)
        now = measured.times(built.model)
        larger = weight_bytes(built.model) - weight_bytes(chosen.built.model)
        loss = _WORTH_OF_THE_SIZE * larger / max(1, weight_bytes(measured.source))
        if not _is_worth(gained, [time + loss for time in now], times):
            break
        chosen, reached, times = _Mixture(built, floats, chosen.conversion_cost_factor), found, now
    return chosen, reached


def _reach_floors(
    measured: _Measured, chosen: _Mixture, reached: Score, accept: Accept | None
) -> tuple[_Mixture, Score]:
    """Raise the price of noise until the floors are reached, and ``accept`` accepts."""
    options = measured.options
    price = _FIRST_PRICE * 10 ** (options.min_sqnr / 10)
    for _ in range(_MOST_PRICES):
        if _inside(reached, options) and (accept is None or accept(chosen.built.model)):
            break
        floats = chosen.floats
        while floats == chosen.floats and price < _HIGHEST_PRICE:
            floats = chosen.floats | measured.floats_at(price, chosen.conversion_cost_factor)
            price *= 4
        built = measured.mixture(floats, price) if floats != chosen.floats else None
        if built is None:
            break
        chosen = _Mixture(built, floats, chosen.conversion_cost_factor)
        reached = measured.score(built)
    return chosen, reached


def _inside(reached: Score, options: QuantizeOptions) -> bool:
    # Among few samples, some more or less are chance; other samples judge in the end.
    floor, samples = options.min_agreement, reached.samples
    slack = 0.0
    if samples < _FEW_SAMPLES:
        chance = _ONE_SIDED * math.sqrt(max(floor * (1 - floor), 0.0) / samples)
        slack = max(1.0, samples * chance + 0.5) / samples
    enough = floor - slack
    return reached.sqnr_db >= options.min_sqnr and reached.agreement >= enough


def _worth_of_bytes(source: ir.Model, name: str) -> float:
    """What the bytes saved on the weights of node ``name`` are worth, in millionths of the time."""
    node = next((node for node in source.graph if node.name == name), None)
    if node is None:
        return 0.0
    held = sum(
        array.nbytes / len(value.uses())  # a shared weight goes when all who read it are INT8
        for value in node.inputs
        if value is not None and (array := constant(value)) is not None
    )
    return 1e6 * _WORTH_OF_THE_SIZE * 0.75 * held / max(1, weight_bytes(source))


def _price_of_noise(sqnr_db: float) -> float:
    """Millionths of the model's time for noise as large as the signal, at the present noise.

    The slope of the decibels there: a share ``n`` of the noise is ``10/ln(10)·n`` dB.
    """
    share = 10 ** (min(sqnr_db, _ENOUGH_DB) / 10)
    return 1e6 * _WORTH_OF_A_DECIBEL * 10 / math.log(10) * share


def _is_worth(decibels: float, now: list[float], before: list[float]) -> bool:
    """Whether a model that is better by ``decibels`` is not slower by more than that.

    ``now`` and ``before``: times as shares of the float model's, by batch size, because decibels
    have their price in its time.
    """
    allowed = _NOISE + _WORTH_OF_A_DECIBEL * decibels
    return all(mine - theirs < allowed for mine, theirs in zip(now, before, strict=True))


def _why(
    name: str, costs: Mapping[str, Cost], sensitivities: Mapping[str, float], price: float
) -> str:
    if name not in sensitivities:
        return "returned to float with its neighbours"
    cost = costs.get(name, Cost(0.0, 0.0))
    if price and cost.int8_time < cost.float_time:
        return (
            f"returned to float: alone in INT8 it lowers the SQNR to {sensitivities[name]:.1f} dB"
        )
    return (
        "returned to float: faster so, with its neighbours "
        f"({cost.float_time / 1e4:.1f}% of the model's time in float, "
        f"{cost.int8_time / 1e4:.1f}% in INT8)"
    )


def _sizes(source: ir.Model, data: Dataset, plan: Plan) -> dict[str, int]:
    """Numbers in each value that may be converted, for one sample."""
    names = [str(value.name) for value in plan.quantized_values()]
    inputs = {spec.name for spec in model_inputs(source)}
    computed = [name for name in names if name not in inputs]
    sizes = {name: size // 4 for name, size in bytes_per_sample(source, data, computed).items()}
    first = next(iter(data.batches(1))).feed
    sizes.update({name: int(first[name].size) for name in names if name in inputs})
    return sizes
