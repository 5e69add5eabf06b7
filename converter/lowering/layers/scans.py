"""``keras.ops.scan`` and ``associative_scan`` as loops that ONNX can write.

Keras keeps the carry in a list of one element that each step overwrites, and walks backwards by
writing the outputs from the last to the first; ONNX' Loop has variables, and joins what each
step gives. An associative scan takes steps that double, over as many conditions as there could be.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from converter.lowering.markers import Replacement


def scan_replacements() -> list[Replacement]:
    """The functions as the TensorFlow backend of Keras has them."""
    core = importlib.import_module("keras.src.backend.tensorflow.core")
    return [
        Replacement(core, "scan", _scan),
        Replacement(core, "associative_scan", _associative_scan),
    ]


def _scan(  # noqa: PLR0917  # the signature of Keras
    f: Any, init: Any, xs: Any = None, length: Any = None, reverse: bool = False, unroll: Any = 1
) -> Any:
    """Carry and outputs of ``f(carry, x)`` along the first axis of ``xs``."""
    import keras
    import tensorflow as tf

    carry = [tf.convert_to_tensor(each) for each in keras.tree.flatten(init)]
    given = (
        [tf.convert_to_tensor(each) for each in keras.tree.flatten(xs)] if xs is not None else []
    )
    if not given and length is None:
        return NotImplemented
    count = int(length) if length is not None else tf.shape(given[0])[0]
    if reverse:
        given = [tf.reverse(each[:count], [0]) for each in given]
    arrays = [tf.TensorArray(each.dtype, size=count, element_shape=each.shape) for each in carry]

    def packed(template: Any, flat: list[Any]) -> Any:
        return keras.tree.pack_sequence_as(template, flat)

    def step(i: Any, before: list[Any], written: list[Any]) -> Any:
        x = None if xs is None else packed(xs, [tf.gather(each, i) for each in given])
        after, outputs = f(packed(init, before), x)
        after = before if after is None else keras.tree.flatten(after)
        if outputs is not None:
            flat = keras.tree.flatten(outputs)
            written = [array.write(i, each) for array, each in zip(written, flat, strict=True)]
        return i + 1, after, written

    _, carry, arrays = tf.while_loop(
        lambda i, _before, _written: i < count, step, (0, carry, arrays)
    )
    outputs = [array.stack() for array in arrays]
    if reverse:
        outputs = [tf.reverse(each, [0]) for each in outputs]
    return packed(init, carry), packed(init, outputs)


def _associative_scan(f: Any, elems: Any, reverse: bool = False, axis: int = 0) -> Any:
    """What ``f`` makes of the elements up to each one; ``f`` takes whole stretches of them."""
    import keras
    import tensorflow as tf

    flat = [tf.convert_to_tensor(each) for each in keras.tree.flatten(elems)]
    ranks = {each.shape.rank for each in flat}
    if None in ranks or len(ranks) > 1:
        return NotImplemented
    axis %= ranks.pop()

    def combine(first: list[Any], second: list[Any]) -> list[Any]:
        pair = (keras.tree.pack_sequence_as(elems, each) for each in (first, second))
        return list(keras.tree.flatten(f(*pair)))

    if reverse:
        flat = [tf.reverse(each, [axis]) for each in flat]
    size = flat[0].shape[axis]
    scanned = (
        _halved(flat, combine, axis, size) if size is not None else _doubled(flat, combine, axis)
    )
    if reverse:
        scanned = [tf.reverse(each, [axis]) for each in scanned]
    return keras.tree.pack_sequence_as(elems, scanned)


Combine = Callable[[list[Any], list[Any]], list[Any]]


def _halved(flat: list[Any], combine: Combine, axis: int, size: int) -> list[Any]:
    """Pairs first, then what is between them, as Keras does it: a known number of elements."""
    import tensorflow as tf

    if size < 2:
        return flat

    def cut(tensors: list[Any], *where: int | None) -> list[Any]:
        index = (*[slice(None)] * axis, slice(*where))
        return [each[index] for each in tensors]

    odd = _halved(
        combine(cut(flat, 0, size - 1, 2), cut(flat, 1, None, 2)), combine, axis, size // 2
    )
    rest = cut(flat, 2, None, 2)
    even = cut(flat, 0, 1)
    if size > 2:
        between = combine(cut(odd, 0, (size - 1) // 2), rest)
        even = [tf.concat(pair, axis) for pair in zip(even, between, strict=True)]
    pairs = zip(even, odd, strict=True)
    return [_interleaved(*pair, axis, size) for pair in pairs]


def _interleaved(even: Any, odd: Any, axis: int, size: int) -> Any:
    """Elements of two tensors in turn; the first may have one more."""
    import tensorflow as tf

    half = size // 2
    index = (*[slice(None)] * axis, slice(0, half))
    both = tf.stack([even[index], odd], axis + 1)
    shape = tf.concat([tf.shape(odd)[:axis], [2 * half], tf.shape(odd)[axis + 1 :]], 0)
    static = [*odd.shape[:axis], 2 * half, *odd.shape[axis + 1 :]]
    if static.count(None) <= 1:
        shape = [-1 if dim is None else dim for dim in static]
    joined = tf.ensure_shape(tf.reshape(both, shape), static)
    if size % 2 == 0:
        return joined
    last = even[(*[slice(None)] * axis, slice(half, None))]
    return tf.concat([joined, last], axis)


def _doubled(flat: list[Any], combine: Combine, axis: int) -> list[Any]:
    """Each element with that of 1, 2, 4, … before it: a number known only at run time."""
    import tensorflow as tf

    size = tf.shape(flat[0])[axis]
    shape = [1] * flat[0].shape.rank
    shape[axis] = -1
    places = tf.reshape(tf.range(size), shape)

    def step(distance: Any, tensors: list[Any]) -> Any:
        moved = [tf.roll(each, distance, axis) for each in tensors]
        combined = combine(moved, tensors)
        # The first ones have nothing so far before them.
        kept = [
            tf.ensure_shape(tf.where(places >= distance, new, old), old.shape)
            for new, old in zip(combined, tensors, strict=True)
        ]
        return distance * 2, kept

    return list(tf.while_loop(lambda distance, _: distance < size, step, (1, flat))[1])
