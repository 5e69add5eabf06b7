"""Choose the form on which each part of a graph computes, with the fewest Transposes.

TensorFlow stores channels last, ONNX convolutions want them second: exporters write a
Transpose before and after each, and Unsqueeze and Squeeze around one on sequences. Between
them stand operators to which the form is all the same (``layout_rules``). For each of those
the pass decides between two forms, so that the values whose two ends decide differently, and
therefore need a Transpose, are as few and as small as possible. That is a minimum cut, and
therefore found exactly.
"""

from __future__ import annotations

import abc
from collections.abc import Hashable

import onnx_ir as ir

from converter.passes.fusion.flatten import takes_any_order
from converter.passes.layout.rebuild import rearrange
from converter.passes.layout.regions import Links, Region, Tensor, explore
from converter.passes.layout.transposes import merge_transposes
from runtimes.onnx_graph.min_cut import INFINITE, Network
from runtimes.onnx_graph.rewrite import Refuse, RewritePass
from runtimes.onnx_graph.values import is_op, opset

# One link costs this much; what it moves only decides between equal numbers of them.
_ONE = 1 << 40
# Runtimes fuse these with the convolution before them, where nothing stands between.
_FUSED = ("Relu", "Clip", "LeakyRelu", "Sigmoid", "HardSigmoid", "Tanh")
# Against what moving costs: a fusion is worth it, no gain is not. Both are nothing beside a link.
_LIKES = 2
_MOVES = 1


class _MoveLinks(RewritePass):
    """What the two passes share."""

    links: Links

    @abc.abstractmethod
    def merge(self, graph: ir.Graph) -> bool:
        """Merge links that follow each other."""

    def rewrite(self, model: ir.Model, refuse: Refuse) -> bool:
        """Decide and rebuild, in the main graph and each subgraph."""
        modified = False
        for graph in tuple(model.graphs()):
            first = next((n for n in graph if is_op(n, *self.links.op_types)), None)
            if first is None:
                continue
            if opset(model) < 13:
                refuse(first, f"opset {opset(model)} is older than 13")
                continue
            modified = self.merge(graph) or modified
            modified = _arrange(graph, self.links) or modified
        return modified


class MoveTransposes(_MoveLinks):
    """Move Transposes to where the fewest remain, and among equals to the smallest values.

    Needs shapes: run ``InferShapes`` before. Transposes in a row are merged first. Acts on
    each graph on its own; values that a subgraph uses stay in the order they have. Models
    older than opset 13 are refused: their operators name axes in other ways.
    """

    links = Links(("Transpose",), takes_any_order)

    def merge(self, graph: ir.Graph) -> bool:
        """Merge Transposes that follow each other."""
        return merge_transposes(graph)


class MoveSqueezes(_MoveLinks):
    """The same for Squeeze and Unsqueeze: what follows a convolution stays next to it.

    Convolutions on sequences are written as Unsqueeze, Conv, Squeeze; runtimes fuse a Conv
    with the activation after it only if no Squeeze stands between.
    """

    links = Links(("Squeeze", "Unsqueeze"))

    def merge(self, graph: ir.Graph) -> bool:
        """Leave what follows each other to ``MergeReshapes``."""
        return False


def _arrange(graph: ir.Graph, links: Links) -> bool:
    region = explore(graph, links)
    if not region.movers:
        return False
    network = Network(1, 0)
    sizes = [tensor.elements() for tensor in region.tensors]
    total = max(1, sum(sizes))
    present = 0
    for tensor, size in zip(region.tensors, sizes, strict=True):
        present += _connect(network, region, tensor, _ONE + _ONE // 2 * size // total)
    for node in region.movers:
        _prefer(network, node, region.form_now(node), _MOVES)
        liked = _liked_form(region, node)
        if liked is not None:
            _prefer(network, node, liked, _LIKES)
            present += _LIKES if liked != region.form_now(node) else 0
    cheapest, ones = network.cut()
    if cheapest >= present:
        return False
    rearrange(graph, region, {node: int(node in ones) for node in region.movers})
    return True


def _prefer(network: Network, node: ir.Node, form: int, cost: int) -> None:
    """Make it cost something if ``node`` does not compute on ``form``."""
    if form == 0:
        network.add(node, 0, cost)
    else:
        network.add(1, node, cost)


def _liked_form(region: Region, node: ir.Node) -> int | None:
    """The form in which a convolution hands over to an activation, if ``node`` is one."""
    if not is_op(node, *_FUSED) or node in region.as_is:
        return None
    value: ir.Value | None = region.data(node)
    producer = value.producer() if value is not None else None
    while producer is not None and region.is_link(producer):
        value = producer.inputs[0]
        producer = value.producer() if value is not None else None
    if value is None or producer is None or not is_op(producer, "Conv", "ConvTranspose"):
        return None
    return region.forms.get(value)


def _connect(network: Network, region: Region, tensor: Tensor, cost: int) -> int:
    """Add what it costs when the ends of a tensor want it in both forms.

    An end is a node that is still to decide, or 0 or 1 where its form is given. Returns what
    the tensor costs as the graph is now.
    """
    origin, ends = tensor.origin, tensor.ends
    if origin != 0:
        # In form 1 at its origin and in form 0 somewhere: one link serves all.
        network.add(origin, (tensor.root, 0), cost)
        for end in ends - {1}:
            network.add((tensor.root, 0), end, INFINITE)
    if origin != 1:
        network.add((tensor.root, 1), origin, cost)
        for end in ends - {0}:
            network.add(end, (tensor.root, 1), INFINITE)
    now = {_form_now(region, end) for end in ends} | {_form_now(region, origin)}
    return cost if len(now) > 1 else 0


def _form_now(region: Region, end: Hashable) -> int:
    return region.form_now(end) if isinstance(end, ir.Node) else int(end == 1)
