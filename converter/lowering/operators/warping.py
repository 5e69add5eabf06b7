"""Projective transforms of images, as RandomRotation and ``affine_transform`` use them.

Each pixel of the output is read at a place of the input, between its pixels. The formulas are
those of TensorFlow's kernel (image_ops.h).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from converter.lowering.builder import Builder
from converter.lowering.operators.arithmetic import GraphMath, GraphValue
from converter.lowering.operators.base import UnsupportedLowering

_FLOAT, _INT64 = 1, 7
# https://onnx.ai/onnx/operators/onnx__GridSample.html
_PADDING = {"CONSTANT": "zeros", "NEAREST": "border", "REFLECT": "reflection"}


def projective_transform(build: Builder, node: Any) -> Sequence[str]:
    """ImageProjectiveTransformV2 and V3 of images (batch, height, width, channels)."""
    image, transforms, sizes, *fill = node.input
    bilinear = _text(node, "interpolation", "NEAREST") == "BILINEAR"
    mode = _text(node, "fill_mode", "CONSTANT")
    if build.shape(image) is None or mode not in (*_PADDING, "WRAP"):
        raise UnsupportedLowering(node, f"it fills with the mode {mode!r}")
    dtype = build.dtype(image)
    values = image if dtype == _FLOAT else build.op("Cast", image, to=_FLOAT)
    sampled = _Sampled(build, values, _where(build, fill, node))
    x, y, valid = _places(build, transforms, sizes)
    if bilinear and mode in _PADDING and build.opset >= 16:
        out = sampled.on_grid(x, y, _PADDING[mode], valid)
    else:
        x, y = (
            _mapped(build, at, size, mode) for at, size in ((x, sampled.width), (y, sampled.height))
        )
        out = sampled.between(x, y, valid) if bilinear else sampled.nearest(x, y, valid)
    return [out if dtype == _FLOAT else build.op("Cast", out, to=dtype)]


def _where(build: Builder, fill: Sequence[str], node: Any) -> str:
    """What is read outside, or nothing where that is zero."""
    if not fill:
        return ""
    source = node.inputs[3]
    if source.is_const() and not source.get_tensor_value(as_list=False).any():
        return ""
    return fill[0]


def _places(build: Builder, transforms: str, sizes: str) -> tuple[GraphValue, GraphValue, str]:
    """Where each pixel of the output is read: x and y (batch, height, width), and if at all."""
    math = GraphMath(build)
    entries = [
        build.op("Cast", build.op("Gather", sizes, build.constant(i)), to=_INT64) for i in (0, 1)
    ]
    rows = GraphValue(build, build.unsqueeze(math.places(entries[0]).name, 1))
    columns = math.places(entries[1])
    count = {"num_outputs": 8} if build.opset >= 18 else {}
    a = [
        GraphValue(build, build.unsqueeze(part, 2))
        for part in build.ops("Split", 8, transforms, axis=1, **count)
    ]
    depth = a[6] * columns + a[7] * rows + 1.0
    valid = build.op("Not", math.op("Equal", depth, 0.0).name)
    depth = math.where(GraphValue(build, valid), depth, 1.0)
    x = (a[0] * columns + a[1] * rows + a[2]) / depth
    y = (a[3] * columns + a[4] * rows + a[5]) / depth
    return x, y, valid


def _mapped(build: Builder, at: GraphValue, size: GraphValue, mode: str) -> GraphValue:
    """A place outside of the image taken to one inside, but where outside is filled."""
    math = GraphMath(build)
    if mode == "CONSTANT":
        return at
    last = size - 1.0
    if mode == "REFLECT":  # … c b a | a b c | c b a …
        twice = size * 2.0
        folded = at - math.floor(at / twice) * twice
        at = math.where(folded < size, folded, twice - folded - 1.0)
    elif mode == "WRAP":
        # TensorFlow counts whole turns of one pixel less than it moves by.
        period = math.maximum(last, 1.0)
        below = at + size * (math.floor(-at / period) + 1.0)
        above = at - size * math.floor(at / period)
        at = math.where(at < 0.0, below, math.where(at > last, above, at))
    return math.minimum(math.maximum(at, 0.0), last)


@dataclass(frozen=True)
class _Sampled:
    """Reading an image at places; ``fill`` is what is read outside, empty for zero."""

    build: Builder
    image: str
    fill: str

    @property
    def height(self) -> GraphValue:
        return self._size(1)

    @property
    def width(self) -> GraphValue:
        return self._size(2)

    def _size(self, axis: int) -> GraphValue:
        known = (self.build.shape(self.image) or [-1] * 4)[axis]
        if known > 0:
            return GraphValue(self.build, self.build.constant(float(known), "float32"))
        size = self.build.squeeze(self.build.sizes(self.image, axis, axis + 1), 0)
        return GraphValue(self.build, self.build.op("Cast", size, to=_FLOAT))

    def on_grid(self, x: GraphValue, y: GraphValue, padding: str, valid: str) -> str:
        """Bilinear by GridSample, which takes places in -1 .. 1 from edge to edge."""
        build = self.build
        shifted = bool(self.fill) and padding == "zeros"
        image = build.op("Sub", self.image, self.fill) if shifted else self.image
        image = build.op("Transpose", image, perm=[0, 3, 1, 2])
        ends = [(at * 2.0 + 1.0) / size - 1.0 for at, size in ((x, self.width), (y, self.height))]
        # What is not read at all is read far outside, where zeros are.
        far = GraphValue(build, build.constant(-3.0, "float32"))
        condition = GraphValue(build, valid)
        ends = [GraphMath(build).where(condition, end, far) for end in ends]
        grid = build.op("Concat", *(build.unsqueeze(end.name, 3) for end in ends), axis=3)
        grid = self._batched(grid, 3)
        out = build.op(
            "GridSample", image, grid, mode=self._linear(), padding_mode=padding, align_corners=0
        )
        out = build.op("Transpose", out, perm=[0, 2, 3, 1])
        if padding != "zeros":
            return self._filled(out, valid)
        return build.op("Add", out, self.fill) if shifted else out

    def _linear(self) -> str:
        return "linear" if self.build.opset >= 20 else "bilinear"

    def nearest(self, x: GraphValue, y: GraphValue, valid: str) -> str:
        """The nearest pixel; halves are rounded away from zero."""
        math = GraphMath(self.build)
        rounded = [math.op("Sign", at) * math.floor(math.abs(at) + 0.5) for at in (x, y)]
        return self._filled(self._read(*rounded), valid)

    def between(self, x: GraphValue, y: GraphValue, valid: str) -> str:
        """Bilinear: the four pixels around, by their distance."""
        math = GraphMath(self.build)
        left, top = math.floor(x), math.floor(y)
        across, down = (self._column(part) for part in (x - left, y - top))
        upper = self._mixed(self._read(left, top), self._read(left + 1.0, top), across)
        lower = self._mixed(self._read(left, top + 1.0), self._read(left + 1.0, top + 1.0), across)
        return self._filled(self._mixed(upper, lower, down).name, valid)

    def _mixed(self, a: str | GraphValue, b: str | GraphValue, share: GraphValue) -> GraphValue:
        first, second = (
            GraphValue(self.build, each) if isinstance(each, str) else each for each in (a, b)
        )
        return first * (1.0 - share) + second * share

    def _column(self, x: GraphValue) -> GraphValue:
        return GraphValue(self.build, self.build.unsqueeze(x.name, 3))

    def _read(self, x: GraphValue, y: GraphValue) -> str:
        """Pixels at whole places, what is filled in where they are outside."""
        build, math = self.build, GraphMath(self.build)
        last_x, last_y = self.width - 1.0, self.height - 1.0
        inside_x = math.minimum(math.maximum(x, 0.0), last_x)
        inside_y = math.minimum(math.maximum(y, 0.0), last_y)
        index = build.op("Cast", (inside_y * self.width + inside_x).name, to=_INT64)
        index = self._batched(build.unsqueeze(index, 3), 3)
        shape = build.op("Concat", build.sizes(self.image, 0, 1), build.constant([-1]),
                         build.sizes(self.image, 3), axis=0)  # fmt: skip
        flat = build.op("Reshape", self.image, shape)
        pixels = build.op("GatherND", flat, index, batch_dims=1)
        inside = build.op(
            "And",
            math.op("Equal", inside_x, x).name,
            math.op("Equal", inside_y, y).name,
        )
        return self._filled(pixels, inside)

    def _filled(self, pixels: str, valid: str) -> str:
        fill = self.fill or self.build.constant(0.0, "float32")
        return self.build.op("Where", self.build.unsqueeze(valid, 3), pixels, fill)

    def _batched(self, places: str, rank: int) -> str:
        """One transform for all images: its places once for each image."""
        build = self.build
        batch = build.op(
            "Concat", build.sizes(self.image, 0, 1), build.constant([1] * rank), axis=0
        )
        return build.op("Expand", places, batch)


def _text(node: Any, attribute: str, default: str) -> str:
    value = node.get_attr_value(attribute) or default
    return value.decode() if isinstance(value, bytes) else str(value)
