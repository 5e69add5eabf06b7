"""Which value inside the candidate is which value inside the reference."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from runtimes.onnx_graph.layer_names import QUANTIZING, layer_of
from runtimes.onnx_graph.subgraphs import between, needs
from runtimes.parity.layers.fingerprint import Alignment, Fingerprint, align

# A value of the same name is taken unless another one of its layer is this much nearer: passes
# may leave a name on a value that has taken in the next operator.
_MUCH_NEARER = 0.1
_FAR = 0.05
_RIGHT_AGAIN = 0.01

# Nearer than this, two values are one but for rounding.
_ROUNDED = 1e-5

_ABSENT_LAYERS = 8
_MOVED_FAR = 1e-3

# A layer of which only these are left computes nothing by itself any more.
MOVING = QUANTIZING | {
    "Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze",
}  # fmt: skip
"""Operators that compute nothing by themselves."""


@dataclass(frozen=True)
class Seen:
    """A value of the reference, in order of execution: its key, its layer, its fingerprint."""

    key: str
    layer: str | None
    print: Fingerprint


@dataclass(frozen=True)
class Pair:
    """A value of the candidate and the reference's value that it should equal.

    ``clamped``: quantization cuts off what is negative, which is how a Relu is folded into it.
    """

    value: ir.Value
    key: str
    alignment: Alignment
    clamped: bool


def join(
    model: ir.Model, candidate: Mapping[str, Fingerprint], reference: Sequence[Seen]
) -> list[Pair]:
    """Pair the candidate's values with the reference's, in the candidate's order.

    By name; else by the layer that a value leaves: then it is the layer's output, or that of a
    following layer that has no node of its own in the candidate because it was folded into this
    one (of several, the nearest). Values without a partner are left out, and so are those that
    were moved only, and into another order: the layer that follows has its weights in that order.
    """
    by_key = {seen.key: seen for seen in reference}
    computing = [node for node in model.graph if node.op_type not in MOVING]
    windows = _windows(reference, {layer_of(node) for node in computing} - {None})
    pairs = []
    for node in model.graph:
        for value in node.outputs:
            own = candidate.get(str(value.name))
            if own is None:
                continue
            same = by_key.get(str(value.name))
            wanted = [*([same] if same else []), *_of_layer(node, value, windows)]
            found = [(alignment, seen) for seen in wanted if (alignment := align(own, seen.print))]
            if not found:
                continue
            alignment, seen = min(found, key=lambda one: one[0].distance)
            named = found[0]
            if named[1] is same and not (
                named[0].distance > _FAR and alignment.distance < _MUCH_NEARER * named[0].distance
            ):
                alignment, seen = named
            if alignment.distance > _MOVED_FAR and _moved_only(value):
                continue
            pairs.append(Pair(value, seen.key, alignment, _clamped(value)))
    return _renamed(pairs, candidate, reference)


def _renamed(
    pairs: list[Pair], candidate: Mapping[str, Fingerprint], reference: Sequence[Seen]
) -> list[Pair]:
    """The pairs, with values moved to the reference's value that they equal where that is free.

    Keras numbers nested layers anew when it loads a model (``layer_normalization_1`` may become
    ``layer_normalization``), so that a name may be that of another layer. A value of the reference
    that a value of its own equals already is not free: a layer that only hands on its input would
    be taken for it otherwise.
    """
    taken = {pair.key for pair in pairs if pair.alignment.distance <= _ROUNDED}
    moved = []
    for pair in pairs:
        if pair.alignment.distance > _ROUNDED:
            own = candidate[str(pair.value.name)]
            free = [seen for seen in reference if seen.key not in taken]
            found = [(align(own, seen.print), seen) for seen in free]
            equal = [(a, seen) for a, seen in found if a is not None and a.distance <= _ROUNDED]
            if equal:
                alignment, seen = min(equal, key=lambda one: one[0].distance)
                taken.add(seen.key)
                pair = Pair(pair.value, seen.key, alignment, pair.clamped)  # noqa: PLW2901
        moved.append(pair)
    return moved


def plausible(model: ir.Model, pairs: list[Pair]) -> list[Pair]:
    """The pairs without those that are far apart and yet lead to values that are right.

    What is wrong does not become right again: such a value is another one, inside its layer.
    """
    while True:
        nearest: dict[int, list[float]] = {}
        stop = [pair.value for pair in pairs]
        for pair in pairs:
            others = [value for value in stop if value is not pair.value]
            read = {id(v) for node in between(others, [pair.value]) for v in needs(node)}
            for value in others:
                if id(value) in read:
                    nearest.setdefault(id(value), []).append(pair.alignment.distance)
        kept = [
            pair
            for pair in pairs
            if pair.alignment.distance <= _FAR
            or pair.clamped  # what is cut off here is cut off by the next operator there
            or id(pair.value) not in nearest
            or max(nearest[id(pair.value)]) > _RIGHT_AGAIN * pair.alignment.distance
        ]
        if len(kept) == len(pairs):
            return pairs
        pairs = kept


def _windows(reference: Sequence[Seen], present: set[str | None]) -> dict[str, list[Seen]]:
    """For each layer, its own values and those of absent layers soon after it.

    Not only of the next ones: layers of several branches may be executed in turns.
    """
    windows: dict[str, list[Seen]] = {}
    absent = [place for place, seen in enumerate(reference) if seen.layer not in present]
    for place, seen in enumerate(reference):
        if seen.layer is not None:
            window = windows.setdefault(seen.layer, [])
            window.append(seen)
            if seen.layer not in present:
                continue
            start = bisect_right(absent, place)
            window += [reference[later] for later in absent[start : start + _ABSENT_LAYERS]]
    return windows


def _of_layer(
    node: ir.Node, value: ir.Value, windows: Mapping[str, Sequence[Seen]]
) -> Sequence[Seen]:
    layer = layer_of(node)
    if layer is None or not _leaves(value, layer):
        return ()
    return windows.get(layer, ())


def _moved_only(value: ir.Value) -> bool:
    """Whether its layer does nothing but move values."""
    node = value.producer()
    layer = None if node is None else layer_of(node)
    while node is not None and layer_of(node) == layer:
        if node.op_type not in MOVING:
            return False
        source = node.inputs[0]
        node = None if source is None else source.producer()
    return True


def _clamped(value: ir.Value) -> bool:
    users = [node for node, _ in value.uses()]
    if len(users) != 1 or users[0].op_type != "QuantizeLinear":
        return False
    zero_point = users[0].inputs[2] if len(users[0].inputs) > 2 else None
    if zero_point is None:
        return True  # unsigned, from zero
    if zero_point.const_value is None:
        return False
    codes = zero_point.const_value.numpy()
    return bool((codes == np.iinfo(codes.dtype).min).all())


def _leaves(value: ir.Value, layer: str) -> bool:
    """Whether another layer, or the caller, uses the value.

    A layer inside of this one is a part of it: what a block computes for its own normalization is
    not the block's output.
    """
    if value.is_graph_output():
        return True
    for user, _ in value.uses():
        if user.op_type in QUANTIZING:
            if any(_leaves(output, layer) for output in user.outputs):
                return True
        elif not _is_inside(layer_of(user), layer):
            return True
    return False


def _is_inside(path: str | None, layer: str) -> bool:
    return path is not None and (path == layer or path.startswith(f"{layer}/"))
