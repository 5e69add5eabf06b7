"""Deciding by measuring which operators run in INT8."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import onnx_ir as ir

from quantizers.build import Build, Score, build, score
from quantizers.calibrate import bytes_per_sample
from quantizers.costs import Cost, boundary_costs, operator_costs
from quantizers.options import QuantizeOptions
from quantizers.plan import make_plan
from quantizers.search import cheapest_floats
from quantizers.sensitivity import measure_sensitivities
from runtimes.dataset import Dataset
from runtimes.modelfile import model_inputs
from runtimes.profile import profile

# Two models are told apart by this much at least: see ``runtimes.timing``.
_NOISE = 0.02

# Millionths of the model's time for a noise that fills the bound alone, times a hundredth; the
# price is raised fourfold at a time.
_FIRST_PRICE = 14_000.0
_MOST_PRICES = 6

_FEW_SAMPLES = 100

# Conversions may cost more than reckoned, in layout changes and fusions that they prevent: while
# nothing is gained over float, they are reckoned dearer.
_CONVERSIONS = (1.0, 2.0, 2.0)


@dataclass(frozen=True)
class Choice:
    """``built``: the mixture chosen. ``costs`` and ``sensitivities`` (dB) by operator name."""

    built: Build
    costs: Mapping[str, Cost]
    sensitivities: Mapping[str, float]
    notes: tuple[str, ...] = field(default=())


def choose_mixture(
    source: ir.Model, full: Build, data: Dataset, options: QuantizeOptions
) -> Choice:
    """The fastest mixture inside the floors of ``options``, starting from all that can be INT8."""
    costs = operator_costs(source, full, data, options)
    names = [unit.name for unit in full.plan.units if unit.rule.kind == "compute"]
    names += [one.name for one in full.weights_only]
    sensitivities = measure_sensitivities(source, full.basis, names, data, options)
    noise = {name: 10 ** (-decibels / 10) for name, decibels in sensitivities.items()}
    # The plan of the INT8 graph has Q/DQ between; the search needs the float graph's.
    plan = make_plan(full.basis.source.graph, full.kept)
    sizes = _elements(source, data, [str(v.name) for v in plan.quantized_values()])
    boundaries = boundary_costs(source, plan, sizes, data, options)
    notes: list[str] = []

    def floats_at(price: float) -> set[str]:
        floats = cheapest_floats(plan, costs, boundaries, noise, price)
        for one in full.weights_only:
            cost = costs[one.name]
            slower = cost.int8_time * (1 - 2 * _NOISE) > cost.float_time
            if slower or price * noise.get(one.name, 0.0) > cost.float_time:
                floats.add(one.name)
        return floats

    def mixture(floats: set[str], price: float) -> Build | None:
        reasons = {name: _why(name, costs, sensitivities, price) for name in floats}
        return build(full.basis, {**full.kept, **reasons}, data, options)

    chosen, floats = full, set[str]()
    for dearer in _CONVERSIONS:
        boundaries = {name: cost * dearer for name, cost in boundaries.items()}
        now = floats_at(0.0)
        if now <= floats:
            continue
        fast = mixture(now, 0.0)
        if fast is None:
            break
        if _is_faster(fast.model, chosen.model, data, options):
            chosen, floats = fast, now
        if _is_faster(chosen.model, source, data, options):
            break
    reached = score(source, chosen.model, data, options)
    price = _FIRST_PRICE * 10 ** (options.min_sqnr / 10)
    for _ in range(_MOST_PRICES):
        if _inside(reached, options):
            break
        now = floats_at(price)
        price *= 4
        if now <= floats:
            continue
        candidate = mixture(now, price)
        if candidate is None:
            break
        chosen, floats = candidate, now
        reached = score(source, chosen.model, data, options)
    if not _inside(reached, options):
        notes.append(
            "no mixture of INT8 and float reached the floors on the calibration data: "
            f"SQNR {reached.sqnr_db:.1f} dB, agreement {reached.agreement:.1%}"
        )
    return Choice(chosen, costs, sensitivities, tuple(notes))


def _inside(reached: Score, options: QuantizeOptions) -> bool:
    # Among few samples, one more or less is chance.
    slack = 1 / reached.samples if reached.samples < _FEW_SAMPLES else 0.0
    enough = options.min_agreement - slack
    return reached.sqnr_db >= options.min_sqnr and reached.agreement >= enough


def _is_faster(one: ir.Model, other: ir.Model, data: Dataset, options: QuantizeOptions) -> bool:
    found = profile(
        one,
        against=other,
        data=data,
        batch=options.batches,
        threads=options.threads,
        min_time=0.5,
    )
    gains = [math.log(batch.ratio or 1.0) for batch in found.batches]
    return sum(gains) > _NOISE * len(gains) and not found.slower(_NOISE)


def _why(
    name: str, costs: Mapping[str, Cost], sensitivities: Mapping[str, float], price: float
) -> str:
    cost = costs.get(name, Cost(0.0, 0.0))
    if price and name in sensitivities and cost.int8_time < cost.float_time:
        return (
            f"returned to float: alone in INT8 it lowers the SQNR to {sensitivities[name]:.1f} dB"
        )
    return (
        "returned to float: faster so, measured with its neighbours "
        f"({cost.float_time / 1e4:.1f}% of the model's time in float, "
        f"{cost.int8_time / 1e4:.1f}% in INT8)"
    )


def _elements(source: ir.Model, data: Dataset, names: list[str]) -> dict[str, int]:
    inputs = {spec.name for spec in model_inputs(source)}
    computed = [name for name in names if name not in inputs]
    sizes = {name: size // 4 for name, size in bytes_per_sample(source, data, computed).items()}
    first = next(iter(data.batches(1))).feed
    sizes.update({name: int(first[name].size) for name in names if name in inputs})
    return sizes
