"""What each operator costs, in float and in INT8, by the cost table.

Both graphs are taken apart into the kernels that ONNX Runtime makes of them. A kernel belongs to
the operator whose node went into it, one that multiplies before the others, so that nothing counts
twice and nothing that runs counts zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from quantizers.mixed_precision.candidate import QuantizedCandidate
from quantizers.policy.plan import Plan
from quantizers.qdq.dynamic import WIDENED
from runtimes.base import Array, Feed
from runtimes.costs import Costs, Prediction
from runtimes.onnx_graph.flops import multiplies


@dataclass(frozen=True)
class Cost:
    """Time of one run, summed over the batch sizes, in units of the whole float model."""

    float_time: float
    int8_time: float


def operator_costs(
    source: ir.Model, built: QuantizedCandidate, feeds: Sequence[Feed], costs: Costs
) -> dict[str, Cost]:
    """Cost of every unit and weights-only operator of ``built``, by name, in shares of 1e6.

    A cost of 1e6 is all kernels of the float model, on every one of ``feeds``.
    """
    owners = {str(node.name): unit.name for unit in built.plan.units for node in unit.absorbed}
    owners |= {unit.name: unit.name for unit in built.plan.units}
    owners |= {one.name: one.name for one in built.weights_only}
    found = {name: [0.0, 0.0] for name in owners.values()}
    kinds = {str(node.name): node.op_type for node in source.graph}
    for feed in feeds:
        in_float, in_int8 = costs.predict_all([source, built.model], feed)
        for place, prediction in enumerate((in_float, in_int8)):
            for name, time in _by_owner(prediction, owners, kinds).items():
                found[name][place] += time / in_float.of_kernels
    scale = 1e6 / len(feeds)
    return {name: Cost(one * scale, other * scale) for name, (one, other) in found.items()}


def boundary_costs(
    source: ir.Model, plan: Plan, sizes: Mapping[str, int], feeds: Sequence[Feed], costs: Costs
) -> dict[str, float]:
    """Cost of taking each value of ``plan`` from float to bytes or back, in shares of 1e6.

    ``sizes``: elements a sample.
    """
    found = {str(value.name): 0.0 for value in plan.quantized_values()}
    for feed in feeds:
        samples = max((len(array) for array in feed.values() if array.ndim), default=1)
        counts = {name: max(1, sizes.get(name, 0) * samples) for name in found}
        whole = costs.predict(source, feed).of_kernels
        prices = _conversions(sorted(set(counts.values())), costs)
        for name, count in counts.items():
            found[name] += prices[count] / whole
    return {name: cost * 1e6 / len(feeds) for name, cost in found.items()}


def _by_owner(
    prediction: Prediction, owners: Mapping[str, str], kinds: Mapping[str, str]
) -> dict[str, float]:
    """Microseconds by the operator that each kernel belongs to."""
    found: dict[str, float] = {}
    for kernel, time in prediction.kernels:
        owned = [name for name in kernel.origins if _owner(name, owners) is not None]
        owned.sort(key=lambda name: multiplies(kinds.get(name, "")))  # stable: the last one wins
        if owned:
            owner = str(_owner(owned[-1], owners))
            found[owner] = found.get(owner, 0.0) + time
    return found


def _owner(name: str, owners: Mapping[str, str]) -> str | None:
    """The operator of a node; what widens the rows that one looked up belongs to that one."""
    return owners.get(name) or owners.get(name.partition(WIDENED)[0])


def _conversions(counts: Sequence[int], costs: Costs) -> dict[int, float]:
    """Microseconds of one conversion of so many elements, the mean of both directions."""
    if not counts:
        return {}
    model, feed = _conversion_model(counts)
    times: dict[int, list[float]] = {count: [] for count in counts}
    for kernel, time in costs.predict(model, feed).kernels:
        for read in kernel.kernel.inputs[:1]:
            if read is not None and read.shape and read.shape[0] in times:
                times[read.shape[0]].append(time)
    return {count: float(np.mean(found)) if found else 0.0 for count, found in times.items()}


def _conversion_model(counts: Sequence[int]) -> tuple[ir.Model, dict[str, Array]]:
    """A model that takes vectors of these lengths from float to bytes, and others back."""
    scale, zero = (
        ir.Value(
            name=name,
            const_value=ir.tensor(array),
            type=ir.TensorType(ir.DataType.from_numpy(array.dtype)),
            shape=ir.Shape([]),
        )
        for name, array in (
            ("scale", np.float32(0.02).reshape(())),
            ("zero", np.uint8(128).reshape(())),
        )
    )
    graph = ir.Graph([], [], nodes=[], initializers=[scale, zero], opset_imports={"": 18}, name="c")
    feed: dict[str, Array] = {}
    for count in counts:
        for operator, dtype, made in (
            ("QuantizeLinear", np.float32, ir.DataType.UINT8),
            ("DequantizeLinear", np.uint8, ir.DataType.FLOAT),
        ):
            name = f"{operator}{count}"
            array = np.ones(count, dtype)
            given = ir.Value(
                name=f"{name}_in",
                type=ir.TensorType(ir.DataType.from_numpy(array.dtype)),
                shape=ir.Shape([count]),
            )
            node = ir.Node("", operator, [given, scale, zero], name=name)
            output = node.outputs[0]
            output.name, output.type, output.shape = name, ir.TensorType(made), ir.Shape([count])
            feed[f"{name}_in"] = array
            graph.inputs.append(given)
            graph.append(node)
            graph.outputs.append(output)
    return ir.Model(graph, ir_version=10), feed
