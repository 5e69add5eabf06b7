"""CropAndResize: boxes cut out of images and resized, as TensorFlow's kernel does it.

The formulas are those of TensorFlow's kernel (crop_and_resize_op.cc), in float32 and in its
order: at the edge of an image, rounding decides whether a pixel is read or filled in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from converter.lowering.builder import Builder
from converter.lowering.operators.arithmetic import GraphMath, GraphValue

_FLOAT, _INT64, _DOUBLE = 1, 7, 11


def crop_and_resize(build: Builder, node: Any) -> Sequence[str]:
    """Read each pixel of each crop, or the four around it, out of all images in one table."""
    image, boxes, owners, size = node.input
    images = _Images.of(build, image, owners)
    y1, x1, y2, x2 = (
        GraphValue(build, build.op("Slice", boxes, *map(build.constant, ([i], [i + 1], [1]))))
        for i in range(4)
    )
    y = _places(build, y1, y2, images.height, _entry(build, node.inputs[3], size, 0))
    x = _places(build, x1, x2, images.width, _entry(build, node.inputs[3], size, 1))
    y_inside, x_inside = _inside(y, images.height), _inside(x, images.width)
    y, x = _held(build, y, images.height), _held(build, x, images.width)
    nearest = node.get_attr_value("method", b"bilinear") == b"nearest"
    pixels = images.nearest(y, x) if nearest else images.between(y, x)
    inside = build.op(
        "And", build.unsqueeze(y_inside.name, 2, 3), build.unsqueeze(x_inside.name, 1, 3)
    )
    fill = build.constant(node.get_attr_value("extrapolation_value", 0.0), "float32")
    return [build.op("Where", inside, pixels.name, fill)]


@dataclass(frozen=True)
class _Images:
    """All pixels in one table, the first row of each crop's image, and the size of the images."""

    build: Builder
    pixels: str
    first_row: GraphValue
    height: GraphValue
    width: GraphValue

    @staticmethod
    def of(build: Builder, image: str, owners: str) -> _Images:
        if build.dtype(image) != _FLOAT:
            image = build.op("Cast", image, to=_FLOAT)
        rows, columns = (_dimension(build, image, axis) for axis in (1, 2))
        channels = build.sizes(image, 3, 4)
        table = build.op("Concat", build.constant([-1]), channels, axis=0)
        owner = build.op("Cast", build.unsqueeze(owners, 1), to=_INT64)
        first = GraphValue(build, build.op("Mul", owner, rows))
        height, width = (
            GraphValue(build, build.op("Cast", each, to=_FLOAT)) for each in (rows, columns)
        )
        return _Images(build, build.op("Reshape", image, table), first, height, width)

    def nearest(self, y: GraphValue, x: GraphValue) -> GraphValue:
        """The nearest pixel; of two, the one further on."""
        return self._read(*(self._rounded(at) for at in (y, x)))

    def _rounded(self, at: GraphValue) -> GraphValue:
        math = GraphMath(self.build)
        below = math.floor(at)
        return math.where(at - below >= 0.5, below + 1.0, below)

    def between(self, y: GraphValue, x: GraphValue) -> GraphValue:
        """Bilinear: the four pixels around, by their distance."""
        build, math = self.build, GraphMath(self.build)
        top, left = math.floor(y), math.floor(x)
        bottom, right = math.op("Ceil", y), math.op("Ceil", x)
        down = GraphValue(build, build.unsqueeze((y - top).name, 2, 3))
        across = GraphValue(build, build.unsqueeze((x - left).name, 1, 3))
        upper = self._mixed(self._read(top, left), self._read(top, right), across)
        lower = self._mixed(self._read(bottom, left), self._read(bottom, right), across)
        return self._mixed(upper, lower, down)

    @staticmethod
    def _mixed(a: GraphValue, b: GraphValue, share: GraphValue) -> GraphValue:
        return a + (b - a) * share

    def _read(self, y: GraphValue, x: GraphValue) -> GraphValue:
        build = self.build
        row = self.first_row + GraphValue(build, build.op("Cast", y.name, to=_INT64))
        width = build.op("Cast", self.width.name, to=_INT64)
        start = build.unsqueeze(build.op("Mul", row.name, width), 2)
        column = build.unsqueeze(build.op("Cast", x.name, to=_INT64), 1)
        index = build.op("Add", start, column)
        return GraphValue(build, build.op("Gather", self.pixels, index, axis=0))


def _places(
    build: Builder, begin: GraphValue, end: GraphValue, size: GraphValue, count: int | str
) -> GraphValue:
    """Where the ``count`` pixels of each crop lie along one axis: (boxes, count)."""
    math = GraphMath(build)
    last = size - 1.0
    middle = (begin + end) * 0.5 * last
    if isinstance(count, int) and count == 1:
        return middle
    steps = math.places(count)
    if isinstance(count, int):
        length = GraphValue(build, build.constant(count, "float32"))
        return begin * last + steps * _step(build, (end - begin) * last, length)
    length = GraphValue(build, build.op("Cast", count, to=_FLOAT))
    along = begin * last + steps * _step(build, (end - begin) * last, length)
    return math.where(length > 1.0, along, middle)


def _step(build: Builder, distance: GraphValue, count: GraphValue) -> GraphValue:
    """The distance divided by the steps between ``count`` pixels.

    In double, which rounds to the same float32: with a Cast between them, the factors before
    and after are not merged into one that rounds differently.
    """
    steps = GraphMath(build).maximum(count - 1.0, 1.0)
    wide = [build.op("Cast", each.name, to=_DOUBLE) for each in (distance, steps)]
    return GraphValue(build, build.op("Cast", build.op("Div", *wide), to=_FLOAT))


def _inside(at: GraphValue, size: GraphValue) -> GraphValue:
    return (at >= 0.0) & (at <= size - 1.0)


def _held(build: Builder, at: GraphValue, size: GraphValue) -> GraphValue:
    """A place inside; what is read there instead of outside is not used."""
    math = GraphMath(build)
    return math.minimum(math.maximum(at, 0.0), size - 1.0)


def _dimension(build: Builder, tensor: str, axis: int) -> str:
    """A dimension as an int64 scalar, a constant where it is known."""
    known = (build.shape(tensor) or [-1] * 4)[axis]
    if known > 0:
        return build.constant(known)
    return build.squeeze(build.sizes(tensor, axis, axis + 1), 0)


def _entry(build: Builder, source: Any, vector: str, index: int) -> int | str:
    """A size: a number where it is known, else an int64 scalar."""
    if source.is_const():
        return int(source.get_tensor_value(as_list=False)[index])
    entry = build.op("Gather", vector, build.constant(index), axis=0)
    return build.op("Cast", entry, to=_INT64)
