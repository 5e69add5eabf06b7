"""Choose the layout in which each part of a graph computes, with the fewest Transposes.

TensorFlow stores channels last, ONNX convolutions need them second: exporters write a Transpose
before and after each convolution, and Unsqueeze and Squeeze around one on sequences. Between them
are operators that work in either layout (``operators``), here also called forms. For each of those
the pass chooses one of the two, so that as few and as small values as possible need a Transpose
because their two ends chose differently. This is a minimum cut problem, so the optimum is exact.
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

# The cost of one link; the size of what it moves only breaks ties.
_ONE = 1 << 40
# Runtimes fuse these with the convolution before them if nothing is in between.
_FUSED = ("Relu", "Clip", "LeakyRelu", "Sigmoid", "HardSigmoid", "Tanh")
# Compared with the cost of moving: a fusion is worth a move, no gain is not. Both are negligible
# compared with a link.
_LIKES = 2
_MOVES = 1


class _MoveLinks(RewritePass):
    """The common part of the two passes."""

    links: Links

    @abc.abstractmethod
    def merge(self, graph: ir.Graph) -> bool:
        """Merge consecutive links."""

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
    """Move Transposes so that the fewest remain and, among equals, on the smallest values.

    Needs shapes: run ``InferShapes`` before. Consecutive Transposes are merged first. Acts on each
    graph separately; values that a subgraph uses keep their axis order. Models before opset 13 are
    refused, because their operators specify axes differently.
    """

    links = Links(("Transpose",), takes_any_order)

    def merge(self, graph: ir.Graph) -> bool:
        """Merge consecutive Transposes."""
        return merge_transposes(graph)


class MoveSqueezes(_MoveLinks):
    """The same for Squeeze and Unsqueeze, so that an activation stays next to its convolution.

    Convolutions on sequences are written as Unsqueeze, Conv, Squeeze; runtimes fuse a Conv
    with the activation after it only if there is no Squeeze in between.
    """

    links = Links(("Squeeze", "Unsqueeze"))

    def merge(self, graph: ir.Graph) -> bool:
        """Do nothing: ``MergeReshapes`` merges consecutive ones."""
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
    """Add a cost for ``node`` not computing in ``form``."""
    if form == 0:
        network.add(node, 0, cost)
    else:
        network.add(1, node, cost)


def _liked_form(region: Region, node: ir.Node) -> int | None:
    """The form in which a convolution passes its output to ``node``, if that is an activation."""
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
    """Add the cost of needing a tensor in both forms.

    An end is a node whose form is to be chosen, or 0 or 1 if its form is fixed. Returns the cost
    of the tensor in the current graph.
    """
    origin, ends = tensor.origin, tensor.ends
    if origin != 0:
        # In form 1 at its origin and in form 0 at some end: one link serves all ends.
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
