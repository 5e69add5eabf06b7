"""Images read at places that a grid names.

https://onnx.ai/onnx/operators/onnx__GridSample.html
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from quantizers.training.operators.base import Call, Operator
from quantizers.training.tensors import Tensor, sizes_of


def grid_sample(call: Call) -> Sequence[Tensor]:
    """[N, C, H, W] at the places [N, h, w, 2], from -1 to 1 on each axis, width first."""
    import tensorflow as tf

    mode = call.attribute("mode", "linear")
    if mode not in {"bilinear", "linear", "nearest"} or call[0].rank != 4:
        raise call.refuse("it samples other than linearly or by the nearest pixel of an image")
    x, grid = call[0].last, call.first(1)
    aligned = bool(call.attribute("align_corners", 0))
    sizes = [tf.cast(size, grid.dtype) for size in sizes_of(x)[1:3]]
    rows, columns = (
        _places(grid[..., 1 - axis], sizes[axis], aligned, call.attribute("padding_mode", "zeros"))
        for axis in (0, 1)
    )
    if mode == "nearest":
        return [Tensor(_read(x, tf.math.rint(rows), tf.math.rint(columns)), channels_last=True)]
    top, left = tf.floor(rows), tf.floor(columns)
    down, right = rows - top, columns - left
    parts = [
        _read(x, top, left) * ((1 - down) * (1 - right))[..., None],
        _read(x, top, left + 1) * ((1 - down) * right)[..., None],
        _read(x, top + 1, left) * (down * (1 - right))[..., None],
        _read(x, top + 1, left + 1) * (down * right)[..., None],
    ]
    return [Tensor(tf.add_n(parts), channels_last=True)]


def _places(share: Any, size: Any, aligned: bool, padding: str) -> Any:
    """Pixels as numbers, where the padding is not what reads them."""
    import tensorflow as tf

    places = (share + 1) / 2 * (size - 1) if aligned else ((share + 1) * size - 1) / 2
    if padding == "zeros":
        return places
    if padding == "reflection":
        low = tf.zeros_like(size) if aligned else tf.zeros_like(size) - 0.5
        span = tf.maximum(size - 1 if aligned else size, 1e-30)
        away = tf.math.floormod(places - low, 2 * span)
        places = low + tf.minimum(away, 2 * span - away)
    return tf.clip_by_value(places, 0, size - 1)


def _read(x: Any, rows: Any, columns: Any) -> Any:
    """The pixels [N, h, w, C] there, 0 outside."""
    import tensorflow as tf

    height, width = sizes_of(x)[1:3]
    places = [tf.cast(place, tf.int32) for place in (rows, columns)]
    inside = (places[0] >= 0) & (places[0] < height) & (places[1] >= 0) & (places[1] < width)
    kept = [
        tf.clip_by_value(place, 0, size - 1)
        for place, size in zip(places, (height, width), strict=True)
    ]
    found = tf.gather_nd(x, tf.stack(kept, -1), batch_dims=1)
    return tf.where(inside[..., None], found, tf.zeros_like(found))


OPERATORS: dict[str, Operator] = {"GridSample": grid_sample}
