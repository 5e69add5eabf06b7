"""What each operator costs on this machine, in float and in INT8.

Both graphs run under ONNX Runtime's profiler, and the times of what it made of an operator are
found by name: fused nodes keep the operator's name, nodes of the blocked layout (NCHWc) are
called after the output, and later rewrites append a token.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from quantizers.mixed_precision.candidate import QuantizedCandidate
from quantizers.options import QuantizeOptions
from quantizers.policy.plan import Plan, Unit
from quantizers.qdq.dynamic import WIDENED
from runtimes.base import Feed
from runtimes.data.dataset import Dataset
from runtimes.data.timing_inputs import sampled_inputs
from runtimes.engines.batching import fixed_batch
from runtimes.onnx_files.load_save import model_inputs
from runtimes.profiling.ort_profiler import operator_times

_RENAMED = re.compile(r"(_nchwc|_token_\d+|_quant|_nhwc)+$")


@dataclass(frozen=True)
class Cost:
    """Microseconds of one run, summed over the batch sizes in units of the whole float model."""

    float_time: float
    int8_time: float


def operator_costs(
    source: ir.Model, built: QuantizedCandidate, data: Dataset, options: QuantizeOptions
) -> dict[str, Cost]:
    """Cost of every unit and weights-only operator of ``built``, by name, in shares of 1e6.

    A cost of 1e6 is a whole run of the float model, at every one of ``options.batches``.
    """
    names = {unit.name: _float_names(unit, source) for unit in built.plan.units}
    names |= {one.name: {one.name} for one in built.weights_only}
    costs = {name: [0.0, 0.0] for name in names}
    for feed in _feeds(source, data, options.batches):
        in_float = _by_name(source, feed, options)
        in_int8 = _by_name(built.model, feed, options)
        whole = max(sum(in_float.values()), 1.0)
        for name, aliases in names.items():
            costs[name][0] += sum(_time(in_float, alias) for alias in aliases) / whole
            costs[name][1] += (_time(in_int8, name) + _widening(in_int8, name)) / whole
    scale = 1e6 / len(options.batches)
    return {name: Cost(one * scale, other * scale) for name, (one, other) in costs.items()}


def boundary_costs(
    source: ir.Model, plan: Plan, sizes: Mapping[str, int], data: Dataset, options: QuantizeOptions
) -> dict[str, float]:
    """Cost of taking each value of ``plan`` from float to bytes or back, in shares of 1e6.

    ``sizes``: elements a sample. A start of some microseconds, and a fraction of a nanosecond
    an element, as measured on several processors; what is decided by it is timed as a whole.
    """
    costs = {str(value.name): 0.0 for value in plan.quantized_values()}
    for feed in _feeds(source, data, options.batches):
        whole = max(sum(_by_name(source, feed, options).values()), 1.0)
        samples = len(next(iter(feed.values())))
        for name in costs:
            elements = sizes.get(name, 0) * samples
            costs[name] += (_START + _PER_ELEMENT * elements) / whole
    return {name: cost * 1e6 / len(options.batches) for name, cost in costs.items()}


_START = 3.0
_PER_ELEMENT = 0.0004


def _feeds(source: ir.Model, data: Dataset, batches: Sequence[int]) -> list[Feed]:
    specs = model_inputs(source)
    fixed = fixed_batch(specs)
    sizes = [fixed] if fixed is not None else list(batches)
    return [sampled_inputs(data, specs, size).feed for size in sizes]


def _float_names(unit: Unit, source: ir.Model) -> set[str]:
    """Names under which the float graph may know ``unit``: its nodes and their outputs."""
    wanted = {unit.name, *(str(node.name) for node in unit.absorbed)}
    outputs = {str(node.outputs[0].name) for node in source.graph if str(node.name) in wanted}
    return wanted | outputs


def _by_name(model: ir.Model, feed: Feed, options: QuantizeOptions) -> dict[str, float]:
    times: dict[str, float] = {}
    for one in operator_times(model, feed, threads=options.threads):
        name = _RENAMED.sub("", one.name)
        times[name] = times.get(name, 0.0) + one.microseconds
    return times


def _widening(times: Mapping[str, float], name: str) -> float:
    """What widening the rows took that ``name`` looked up: ONNX Runtime copies it for readers."""
    start = f"{name}{WIDENED}"
    return float(np.sum([t for other, t in times.items() if other.startswith(start)]))


def _time(times: Mapping[str, float], name: str) -> float:
    """What ``name`` took; fused nodes may put what they did behind a slash."""
    if name in times:
        return times[name]
    return float(
        np.sum(
            [
                t
                for other, t in times.items()
                if other.startswith(f"{name}/") and "Fus" in other[len(name) :]
            ]
        )
    )
