"""Complex tensors as pairs of real ones, which ONNX has not.

A complex tensor of shape (…, n) is a real one of shape (…, 2n): first all real parts, then all
imaginary ones. What moves numbers about, or adds them, is done to both parts alike; what
multiplies them is written out in real numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from converter.lowering.builder import Builder
from converter.lowering.operators.atan2 import arctangent
from converter.lowering.operators.base import COMPLEX, OperatorLowering, UnsupportedLowering

Pair = tuple[str, str]
Real = Callable[..., list[str]]
"""``real(*inputs)``: the operator itself on real inputs, as if it had stood there."""

_REAL_TYPES = (1, 10, 11)  # float32, float16 and float64
_TYPE_OF_PARTS = {14: 1, 15: 11}

# Operators that do the same to both parts, and the inputs of theirs that are complex.
_ONE, _TWO = slice(0, 1), slice(0, 2)
_ALIKE: dict[str, slice] = {
    **dict.fromkeys(
        (
            *("BroadcastTo", "Cumsum", "EnsureShape", "ExpandDims", "GatherNd", "GatherV2"),
            *("MatrixDiagPart", "MatrixDiagPartV3", "Mean", "MirrorPad", "Neg", "Pad", "PadV2"),
            *("Reshape", "ReverseV2", "Roll", "Slice", "Snapshot", "SplitV", "Squeeze"),
            *("StopGradient", "StridedSlice", "Sum", "Tile", "Transpose", "Unpack", "ZerosLike"),
        ),
        _ONE,
    ),
    **dict.fromkeys(("Add", "AddV2", "Sub"), _TWO),
    "AddN": slice(None),
    "ConcatV2": slice(None, -1),
    "Pack": slice(None),
    "Select": slice(1, 3),
    "SelectV2": slice(1, 3),
    "Split": slice(1, 2),
}
_PRODUCTS = ("BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "Einsum", "MatMul", "Mul")


def complex_or_real(
    name: str, real_lowering: OperatorLowering | None, convert: Callable[[Any, Any], None]
) -> OperatorLowering:
    """The lowering of an operator that takes real as well as complex tensors.

    ``convert(ctx, node)`` converts a node of real tensors.
    """

    def lower(build: Builder, node: Any) -> Sequence[str]:
        if build.dtype(node.output[0]) not in COMPLEX:
            if any(_is_complex(build, tensor) for tensor in node.input):
                return _to_real(build, node)
            return NotImplemented if real_lowering is None else real_lowering(build, node)
        check_consumers(build, node)
        types = [
            (_TYPE_OF_PARTS[build.dtype(output)], build.shape(output)) for output in node.output
        ]

        def real(*inputs: str) -> list[str]:
            return build.again(inputs, types, convert)

        if name in _ALIKE:
            return _alike(build, node, _ALIKE[name], real)
        if name in _PRODUCTS:
            return [join(build, *_product(build, node, real))]
        return [join(build, *_OTHERS[name](build, node))]

    return lower


def _is_complex(build: Builder, tensor: str) -> bool:
    return build.dtype(tensor) in COMPLEX or build.is_pair(tensor)


def _to_real(build: Builder, node: Any) -> list[str]:
    """Operators that give something real of complex numbers."""
    if node.type == "Cast":  # which leaves out what is imaginary
        return [build.op("Cast", parts(build, node, 0)[0], to=build.dtype(node.output[0]))]
    if node.type == "Shape":
        shape = build.op("Shape", parts(build, node, 0)[0])
        return [build.op("Cast", shape, to=build.dtype(node.output[0]))]
    if node.type in ("Equal", "NotEqual"):
        pairs = zip(parts(build, node, 0), parts(build, node, 1), strict=True)
        same = build.op("And", *(build.op("Equal", *pair) for pair in pairs))
        return [same if node.type == "Equal" else build.op("Not", same)]
    raise UnsupportedLowering(node, "it is not written for complex numbers")


def _alike(build: Builder, node: Any, taken: slice, real: Real) -> list[str]:
    """The same to both parts."""
    pairs = {i: parts(build, node, i) for i in range(len(node.input))[taken]}
    both = [
        real(*(pairs[i][part] if i in pairs else name for i, name in enumerate(node.input)))
        for part in (0, 1)
    ]
    return [join(build, first, second) for first, second in zip(*both, strict=True)]


def _product(build: Builder, node: Any, real: Real) -> Pair:
    """``(a + bi)(c + di) = (ac - bd) + (ad + bc)i``; a transpose here conjugates as well."""
    (a, b), (c, d) = (parts(build, node, i) for i in (0, 1))
    if node.get_attr_value("adj_x", 0):
        b = build.op("Neg", b)
    if node.get_attr_value("adj_y", 0):
        d = build.op("Neg", d)
    first = build.op("Sub", real(a, c)[0], real(b, d)[0])
    return first, build.op("Add", real(a, d)[0], real(b, c)[0])


def _square(build: Builder, node: Any) -> Pair:
    a, b = parts(build, node, 0)
    first = build.op("Sub", build.op("Mul", a, a), build.op("Mul", b, b))
    twice = build.op("Add", a, a)
    return first, build.op("Mul", twice, b)


def _quotient(build: Builder, node: Any) -> Pair:
    """``(a + bi) / (c + di)`` with the conjugate of the divisor above and below."""
    (a, b), (c, d) = (parts(build, node, i) for i in (0, 1))
    size = build.op("Add", build.op("Mul", c, c), build.op("Mul", d, d))
    first = build.op("Add", build.op("Mul", a, c), build.op("Mul", b, d))
    second = build.op("Sub", build.op("Mul", b, c), build.op("Mul", a, d))
    return build.op("Div", first, size), build.op("Div", second, size)


def _exponential(build: Builder, node: Any) -> Pair:
    a, b = parts(build, node, 0)
    size = build.op("Exp", a)
    return build.op("Mul", size, build.op("Cos", b)), build.op("Mul", size, build.op("Sin", b))


def _root(build: Builder, node: Any) -> Pair:
    """The root to the right of zero, from the half of it that no digits cancel in."""
    a, b = parts(build, node, 0)
    zero = build.scalar(0, like=a)
    size = build.op("Sqrt", build.op("Add", build.op("Mul", a, a), build.op("Mul", b, b)))
    half = build.op("Mul", build.op("Add", size, build.op("Abs", a)), build.scalar(0.5, like=a))
    long = build.op("Sqrt", half)
    twice = build.op("Add", long, long)
    divisor = build.op("Where", build.op("Equal", twice, zero), build.scalar(1, like=a), twice)
    short = build.op("Div", build.op("Abs", b), divisor)
    right = build.op("GreaterOrEqual", a, zero)
    second = build.op("Where", right, short, long)
    above = build.op("GreaterOrEqual", b, zero)
    return (
        build.op("Where", right, long, short),
        build.op("Where", above, second, build.op("Neg", second)),
    )


def _cast(build: Builder, node: Any) -> Pair:
    """Cast to complex: of a real tensor, nothing is imaginary."""
    if _is_complex(build, node.input[0]):
        raise UnsupportedLowering(node, "it changes the precision of complex numbers")
    dtype = _TYPE_OF_PARTS[build.dtype(node.output[0])]
    first = build.op("Cast", node.input[0], to=dtype)
    return first, build.op("Mul", first, build.scalar(0, like=first))


_OTHERS: dict[str, Callable[[Builder, Any], Pair]] = {
    "Cast": _cast,
    "Div": _quotient,
    "Exp": _exponential,
    "RealDiv": _quotient,
    "Sqrt": _root,
    "Square": _square,
}

COMPLEX_OPERATORS = (*_ALIKE, *_PRODUCTS, *_OTHERS, "Equal", "NotEqual", "Shape")
"""Operators that are written for complex tensors as well as for real ones."""

# What may be done with a complex tensor; anything else would not know of the two halves.
_CONSUMERS = {
    *COMPLEX_OPERATORS,
    *("Angle", "Complex", "ComplexAbs", "Conj", "Imag", "Real"),
    *("FFT", "FFT2D", "IFFT", "IFFT2D", "IRFFT"),
}


def joined(build: Builder, node: Any) -> Sequence[str]:
    """Complex: real and imaginary parts, broadcast to one shape, to a complex tensor."""
    check_consumers(build, node)
    first, second = node.input
    shapes = build.shape(first), build.shape(second)
    if shapes[0] is None or shapes[1] is None or shapes == ([], []):
        raise UnsupportedLowering(node, "the ranks of real and imaginary parts are not known")
    if shapes[0] == shapes[1]:
        return [join(build, first, second)]
    whole = _broadcast(shapes[0], shapes[1])
    pair = (
        build.op("Expand", one, build.op("Shape", other))
        for one, other in ((first, second), (second, first))
    )
    first, second = pair
    build.set_shape(first, whole)
    build.set_shape(second, whole)
    return [join(build, first, second)]


def _broadcast(one: Sequence[int], other: Sequence[int]) -> list[int]:
    """The shape that two shapes broadcast to, with -1 for dynamic dimensions."""
    rank = max(len(one), len(other))
    padded = ([1] * (rank - len(shape)) + list(shape) for shape in (one, other))
    return [
        max(a, b) if min(a, b) > 0 or max(a, b) > 1 else -1 for a, b in zip(*padded, strict=True)
    ]


def real(build: Builder, node: Any) -> Sequence[str]:
    """Real parts of a complex tensor."""
    return [parts(build, node, 0)[0]]


def imaginary(build: Builder, node: Any) -> Sequence[str]:
    """Imaginary parts of a complex tensor."""
    return [parts(build, node, 0)[1]]


def absolute(build: Builder, node: Any) -> Sequence[str]:
    """ComplexAbs: the root of the sum of both squares."""
    squares = [build.op("Mul", part, part) for part in parts(build, node, 0)]
    return [build.op("Sqrt", build.op("Add", *squares))]


def conjugate(build: Builder, node: Any) -> Sequence[str]:
    """Conj of a complex tensor: imaginary parts change their signs."""
    check_consumers(build, node)
    first, second = parts(build, node, 0)
    return [join(build, first, build.op("Neg", second))]


def angle(build: Builder, node: Any) -> Sequence[str]:
    """Angle of a complex tensor."""
    first, second = parts(build, node, 0)
    return [arctangent(build, second, first)]


def join(build: Builder, first: str, second: str) -> str:
    """A complex tensor of its parts."""
    return build.op("Concat", first, second, axis=-1)


def parts(build: Builder, node: Any, index: int) -> Pair:
    """Real and imaginary part of a complex input."""
    source = node.inputs[index]
    if source.is_const() and build.dtype(node.input[index]) in COMPLEX:
        values = source.get_tensor_value(as_list=False)
        return build.constant(values.real, values.real.dtype), build.constant(
            values.imag, values.real.dtype
        )
    check_real_form(build, node, index)
    if source.type == "Concat" and len(source.input) == 2 and source.get_attr_value("axis") == -1:
        return source.input[0], source.input[1]
    count = {"num_outputs": 2} if build.opset >= 18 else {}
    first, second = build.ops("Split", 2, node.input[index], axis=-1, **count)
    return first, second


def check_real_form(build: Builder, node: Any, index: int = 0) -> None:
    """Raise where a complex input was not written as a pair."""
    if build.dtype(node.input[index]) not in _REAL_TYPES:
        raise UnsupportedLowering(
            node, "its complex input does not come from a transform or from two parts"
        )
    if not build.shape(node.input[index]):
        raise UnsupportedLowering(node, "the rank of its complex input is not known")


def complex_size(build: Builder, node: Any) -> int:
    """Elements along the last axis of the first input, complex, or -1 where that is dynamic."""
    check_real_form(build, node)
    size = (build.shape(node.input[0]) or [-1])[-1]
    return size // 2 if size > 0 else -1


def check_consumers(build: Builder, node: Any) -> None:
    """Raise where a complex result goes into something that does not know of the two halves."""
    others: set[str] = set()
    pending = [str(output) for output in node.output]
    while pending:
        tensor = pending.pop()
        if build.is_output(tensor):
            others.add("an output of the model")
        for consumer in build.consumers(tensor):
            if consumer.type == "Identity":
                pending.extend(consumer.output)
            elif consumer.type not in _CONSUMERS:
                others.add(consumer.type)
    if others:
        raise UnsupportedLowering(node, f"its complex numbers go into {', '.join(sorted(others))}")
