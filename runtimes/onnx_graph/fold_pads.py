"""Fold a Pad into the ``pads`` of the convolution or pooling after it.

``Conv(Pad(x, p), pads=q) = Conv(x, pads=p+q)`` for zeros around the spatial axes. MaxPool ignores
its own padding, so folding zeros into it is exact only if no value is negative.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from runtimes.onnx_graph.rewrite import Refuse, Refused, RewritePass
from runtimes.onnx_graph.values import (
    all_nodes,
    constant,
    drop_if_unused,
    is_op,
    rank,
    small_ints,
)


class FoldPads(RewritePass):
    """Fold Pad into each convolution and pool after it; remove the Pad if nothing else reads it.

    A MaxPool accepts it only if no value is negative. An AveragePool is set to count padding.

    Refused if the padding is not constant zero, pads the batch or the channels, or is negative and
    so crops (the reader's own ``pads`` would then replace values by zeros), and if the reader
    pads by rule (auto_pad).
    """

    def rewrite(self, model: ir.Model, refuse: Refuse) -> bool:
        """Fold in the main graph and its subgraphs."""
        modified = False
        for node in all_nodes(model):
            users = node.outputs[0].consumers() if is_op(node, "Pad") else ()
            takers = [user for user in users if is_op(user, *_TAKERS)]
            for user in takers:
                try:
                    _fold(node, user)
                    modified = True
                except Refused as reason:
                    refuse(node, str(reason))
            if takers:
                _remove_if_unused(node, refuse)
        return modified


_TAKERS = ("Conv", "MaxPool", "AveragePool")


def _fold(pad: ir.Node, user: ir.Node) -> None:
    pads = _padding_of_its_own(user, pad, _spatial_pads(pad))
    user.attributes.pop("auto_pad", None)
    user.attributes.add(ir.AttrInt64s("pads", pads))
    if is_op(user, "AveragePool"):
        user.attributes.add(ir.AttrInt64("count_include_pad", 1))
    user.replace_input_with(0, pad.inputs[0])


def _remove_if_unused(pad: ir.Node, refuse: Refuse) -> None:
    result = pad.outputs[0]
    if result.is_graph_output() or any(not is_op(user, *_TAKERS) for user in result.consumers()):
        refuse(pad, "its result is used elsewhere too")
    elif not result.uses():
        inputs = tuple(pad.inputs)
        assert pad.graph is not None
        pad.graph.remove(pad, safe=True)
        drop_if_unused(inputs[1:])


def _spatial_pads(pad: ir.Node) -> list[int]:
    """Zeros before each spatial axis, then after each."""
    if pad.attributes.get_string("mode", "constant") != "constant" or not _pads_zero(pad):
        raise Refused("it does not pad with zeros")
    pads = _pads_of(pad)
    if pads is None:
        raise Refused("its padding is not a constant")
    half = len(pads) // 2
    before, after = pads[:half], pads[half:]
    if any((*before[:2], *after[:2])):
        raise Refused("it pads the batch or the channels")
    if min(pads) < 0:
        raise Refused("it crops instead of padding")
    return [*before[2:], *after[2:]]


def _padding_of_its_own(user: ir.Node, pad: ir.Node, pads: list[int]) -> list[int]:
    """The ``pads`` that make the Pad before ``user`` unnecessary."""
    value = pad.outputs[0]
    if user.graph is not pad.graph:
        raise Refused("its result is used in a subgraph")
    if [index for index, used in enumerate(user.inputs) if used is value] != [0]:
        raise Refused("it pads a weight")
    rule = user.attributes.get_string("auto_pad", "NOTSET")
    if rule not in ("NOTSET", "VALID"):
        raise Refused(f"{user.name!r} after it pads by rule (auto_pad)")
    own = user.attributes.get_ints("pads") if rule == "NOTSET" else None
    own = own or [0] * len(pads)
    total = [a + b for a, b in zip(pads, own, strict=True)]
    if is_op(user, "MaxPool") and not _is_never_negative(pad.inputs[0]):
        raise Refused("a maximum over padded zeros differs where all values are negative")
    if is_op(user, "AveragePool") and (any(own) or user.attributes.get_int("ceil_mode", 0) != 0):
        raise Refused("the average counts this padding, but not its own")
    if not is_op(user, "Conv"):
        _check_window(user, total)
    return total


def _is_never_negative(value: ir.Value | None) -> bool:
    producer = value.producer() if value is not None else None
    if producer is None:
        return False
    if is_op(producer, "Clip") and len(producer.inputs) > 1 and producer.inputs[1] is not None:
        low = constant(producer.inputs[1])
        return low is not None and bool(np.all(low >= 0))
    return is_op(producer, "Relu", "Sigmoid", "HardSigmoid", "Softmax", "Softplus", "Abs", "Exp")


def _check_window(pool: ir.Node, pads: list[int]) -> None:
    """ONNX requires padding smaller than the window: no window may consist of padding only."""
    kernel = pool.attributes.get_ints("kernel_shape", ())
    if any(pad >= size for pad, size in zip(pads, [*kernel, *kernel], strict=True)):
        raise Refused("it pads more than the window of the pooling")


def _pads_zero(pad: ir.Node) -> bool:
    if len(pad.inputs) > 2 and pad.inputs[2] is not None:
        value = constant(pad.inputs[2])
        return value is not None and not value.any()
    return pad.attributes.get_float("value", 0.0) == 0.0


def _pads_of(pad: ir.Node) -> tuple[int, ...] | None:
    """Padding before each axis, then after each; ``None`` if it is not known."""
    if len(pad.inputs) < 2:
        pads = pad.attributes.get_ints("pads")
        return None if pads is None else tuple(pads)
    numbers = small_ints(pad.inputs[1])
    if numbers is None or len(pad.inputs) < 4 or pad.inputs[3] is None:
        return numbers
    axes, full = small_ints(pad.inputs[3]), rank(pad.inputs[0]) or rank(pad.outputs[0])
    if axes is None or full is None:
        return None
    result = [0] * (2 * full)
    for place, axis in enumerate(axes):
        result[axis % full] = numbers[place]
        result[full + axis % full] = numbers[len(axes) + place]
    return tuple(result)
