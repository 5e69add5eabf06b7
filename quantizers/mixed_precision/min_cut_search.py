"""The fastest mixture of INT8 and float, inside a bound on the noise, by minimum cut.

Every operator is in INT8 or in float. Its time in either is measured, and so is the noise that
it adds at the output in INT8; a value that crosses between the two costs its conversion, once.
The sum of all that is least for a minimum cut of a graph with the operators as vertices
(Boykov, Veksler, Zabih, Fast Approximate Energy Minimization via Graph Cuts, PAMI 2001): exactly,
not greedily. The price of noise is raised until what remains fits.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import onnx_ir as ir

from quantizers.mixed_precision.operator_costs import Cost
from quantizers.policy.plan import Plan
from runtimes.onnx_graph.min_cut import INFINITE, Network

_INT8, _FLOAT = "int8", "float"

# An operator goes back to float for a gain beyond what timing leaves uncertain, because in INT8
# it takes a quarter of the memory.
_MARGIN = 0.95


def cheapest_floats(
    plan: Plan,
    costs: Mapping[str, Cost],
    boundaries: Mapping[str, float],
    noise: Mapping[str, float],
    price: float,
) -> set[str]:
    """Names of the units of ``plan`` that are better in float.

    ``boundaries``: cost of a conversion by value name. ``noise`` by unit name, at ``price``.
    """
    network = Network(_INT8, _FLOAT)
    for unit in plan.units:
        cost = costs.get(unit.name, Cost(0.0, 0.0))
        network.add(_INT8, unit.name, _capacity(cost.float_time))
        in_int8 = cost.int8_time * _MARGIN + price * noise.get(unit.name, 0.0)
        network.add(unit.name, _FLOAT, _capacity(in_int8))
    for value in plan.quantized_values():
        _add_conversions(network, plan, value, _capacity(boundaries.get(str(value.name), 0.0)))
    _, in_int8_side = network.cut()
    return {unit.name for unit in plan.units if unit.name not in in_int8_side}


def _add_conversions(network: Network, plan: Plan, value: ir.Value, cost: int) -> None:
    """Charge ``cost`` where the maker of ``value`` is in INT8 and a reader in float, or reverse."""
    maker = plan.producer(value)
    made: Hashable = _FLOAT if maker is None or not maker.operator.int8_output else maker.name
    readers = {unit.name for unit in plan.readers(value)}
    if readers:
        back = ("quantize", value.name)
        network.add(back, made, cost)
        for reader in readers:
            network.add(reader, back, INFINITE)
    if made != _FLOAT:
        forth = ("dequantize", value.name)
        network.add(made, forth, cost)
        for reader in readers:
            network.add(forth, reader, INFINITE)
        users = {use.node for use in value.uses()}
        known = {unit.node for unit in plan.readers(value)}
        if users - known or value.is_graph_output():
            network.add(forth, _FLOAT, INFINITE)


def _capacity(cost: float) -> int:
    return round(max(cost, 0.0))
