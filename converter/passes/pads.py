"""Let convolutions and pooling pad for themselves: a Pad before them becomes their ``pads``.

A maximum is taken without what its own padding adds; zeros change nothing there if there is
nothing below zero.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from converter.passes.base import Refuse, Refused, RewritePass
from converter.passes.values import all_nodes, constant, is_op, only_user, small_ints


class FoldPads(RewritePass):
    """Fold Pad into the Conv after it, and into a MaxPool of what cannot be negative.

    Refused where the padding is not constant zero, reaches the batch or the channels, cuts
    (a negative number), or is used elsewhere too, and where the Conv pads by rule (auto_pad).
    """

    def rewrite(self, model: ir.Model, refuse: Refuse) -> bool:
        """Fold in the main graph and its subgraphs."""
        modified = False
        for node in all_nodes(model):
            source = node.inputs[0] if node.inputs else None
            pad = source.producer() if source is not None else None
            if not is_op(node, "Conv", "MaxPool") or pad is None or not is_op(pad, "Pad"):
                continue
            try:
                _fold(pad, node)
                modified = True
            except Refused as reason:
                refuse(pad, f"not folded into {node.name!r}: {reason}")
        return modified


def _fold(pad: ir.Node, conv: ir.Node) -> None:
    if only_user(pad.outputs[0]) is not conv or pad.graph is not conv.graph:
        raise Refused("its result is used elsewhere too")
    if pad.attributes.get_string("mode", "constant") != "constant" or not _pads_zero(pad):
        raise Refused("it does not pad with zeros")
    if is_op(conv, "MaxPool") and not _is_never_negative(pad.inputs[0]):
        raise Refused("a maximum over zeros differs where all else is negative")
    if conv.attributes.get_string("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise Refused("what follows pads by rule (auto_pad)")
    pads = _pads_of(pad)
    if pads is None:
        raise Refused("its padding is not a constant")
    spatial = len(pads) // 2 - 2
    before, after = pads[: spatial + 2], pads[spatial + 2 :]
    if any((*before[:2], *after[:2])):
        raise Refused("it pads the batch or the channels")
    if min(pads) < 0:
        raise Refused("it cuts instead of padding")
    own = conv.attributes.get_ints("pads") or [0] * (2 * spatial)
    total = [a + b for a, b in zip((*before[2:], *after[2:]), own, strict=True)]
    if is_op(conv, "MaxPool"):
        _check_window(conv, total)
    conv.attributes.pop("auto_pad", None)
    conv.attributes.add(ir.AttrInt64s("pads", total))
    conv.replace_input_with(0, pad.inputs[0])
    assert pad.graph is not None
    pad.graph.remove(pad, safe=True)


def _is_never_negative(value: ir.Value | None) -> bool:
    producer = value.producer() if value is not None else None
    if producer is None:
        return False
    if is_op(producer, "Clip") and len(producer.inputs) > 1 and producer.inputs[1] is not None:
        low = constant(producer.inputs[1])
        return low is not None and bool(np.all(low >= 0))
    return is_op(producer, "Relu", "Sigmoid", "HardSigmoid", "Softmax", "Softplus", "Abs", "Exp")


def _check_window(pool: ir.Node, pads: list[int]) -> None:
    """ONNX wants padding smaller than the window: no window may lie in it altogether."""
    kernel = pool.attributes.get_ints("kernel_shape", ())
    if any(pad >= size for pad, size in zip(pads, [*kernel, *kernel], strict=True)):
        raise Refused("it pads more than the window of the pooling")


def _pads_zero(pad: ir.Node) -> bool:
    if len(pad.inputs) > 2 and pad.inputs[2] is not None:
        value = constant(pad.inputs[2])
        return value is not None and value.size == 1 and float(value.reshape(())) == 0.0
    return pad.attributes.get_float("value", 0.0) == 0.0


def _pads_of(pad: ir.Node) -> tuple[int, ...] | None:
    """Padding before each axis, then after each; ``None`` where it is not known."""
    if len(pad.inputs) < 2:
        pads = pad.attributes.get_ints("pads")
        return None if pads is None else tuple(pads)
    numbers = small_ints(pad.inputs[1])
    if numbers is None or len(pad.inputs) < 4 or pad.inputs[3] is None:
        return numbers
    axes, source = small_ints(pad.inputs[3]), pad.inputs[0]
    if axes is None or source is None or source.shape is None:
        return None
    full = len(source.shape)
    result = [0] * (2 * full)
    for place, axis in enumerate(axes):
        result[axis % full] = numbers[place]
        result[full + axis % full] = numbers[len(axes) + place]
    return tuple(result)
