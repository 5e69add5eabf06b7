"""Choose the order of axes in which each part of a graph computes, with the fewest Transposes.

TensorFlow stores channels last, ONNX convolutions want them second: exporters write a
Transpose before and after each. Between them stand operators to which the order is all the
same (``layout_rules``). For each of those the pass decides between two orders, so that the
values whose two ends decide differently, and therefore need a Transpose, are as few and as
small as possible. That is a minimum cut, and therefore found exactly.
"""

from __future__ import annotations

from collections.abc import Hashable

import onnx_ir as ir

from converter.passes.base import Refuse, RewritePass
from converter.passes.layout_build import rearrange
from converter.passes.layout_region import Region, Tensor, explore
from converter.passes.min_cut import INFINITE, Network
from converter.passes.transposes import merge_transposes
from converter.passes.values import is_op, opset

# One Transpose costs this much; what it moves only decides between equal numbers of them,
# and a node that is rebuilt costs one.
_ONE = 1 << 40


class MoveTransposes(RewritePass):
    """Move Transposes to where the fewest remain, and among equals to the smallest values.

    Needs shapes: run ``InferShapes`` before. Transposes in a row are merged first. Acts on
    each graph on its own; values that a subgraph uses stay in the order they have. Models
    older than opset 13 are refused: their operators name axes in other ways.
    """

    def rewrite(self, model: ir.Model, refuse: Refuse) -> bool:
        """Decide and rebuild, in the main graph and each subgraph."""
        modified = False
        for graph in tuple(model.graphs()):
            first = next((node for node in graph if is_op(node, "Transpose")), None)
            if first is None:
                continue
            if opset(model) < 13:
                refuse(first, f"opset {opset(model)} is older than 13")
                continue
            modified = merge_transposes(graph) or modified
            modified = _arrange(graph) or modified
        return modified


def _arrange(graph: ir.Graph) -> bool:
    region = explore(graph)
    if not region.movers:
        return False
    network = Network(1, 0)
    sizes = [tensor.elements() for tensor in region.tensors]
    total = max(1, sum(sizes))
    present = 0
    for tensor, size in zip(region.tensors, sizes, strict=True):
        cost = _ONE + _ONE // 2 * size // total
        present += _connect(network, region, tensor, cost)
    for node in region.movers:
        # Without a gain nothing moves.
        if region.order_now(node) == 0:
            network.add(node, 0, 1)
        else:
            network.add(1, node, 1)
    cheapest, ones = network.cut()
    if cheapest >= present:
        return False
    orders = {node: int(node in ones) for node in region.movers}
    rearrange(graph, region, orders)
    return True


def _connect(network: Network, region: Region, tensor: Tensor, cost: int) -> int:
    """Add what it costs when the ends of a tensor want it in both orders.

    An end is a node that is still to decide, or 0 or 1 where its order is given. Returns
    what the tensor costs as the graph is now.
    """
    origin, ends = tensor.origin, tensor.ends
    if origin != 0:
        # In order 1 at its origin and in order 0 somewhere: one Transpose serves all.
        network.add(origin, (tensor.root, 0), cost)
        for end in ends - {1}:
            network.add((tensor.root, 0), end, INFINITE)
    if origin != 1:
        network.add((tensor.root, 1), origin, cost)
        for end in ends - {0}:
            network.add(end, (tensor.root, 1), INFINITE)
    now = {_order_now(region, end) for end in ends} | {_order_now(region, origin)}
    return cost if len(now) > 1 else 0


def _order_now(region: Region, end: Hashable) -> int:
    return region.order_now(end) if isinstance(end, ir.Node) else int(end == 1)
