"""Functions of single elements: arithmetic, comparison, logic, bits, and what is not a number."""

from __future__ import annotations

from op_cases.case import B, F, I, OpCase, on_each, op, refused, special

X, N = F("n", 4), I("n", 4)
SMALL = F("n", 4, low=-0.95, high=0.95)
POSITIVE = F("n", 4, low=0.1, high=4.0)
NATURAL = I("n", 4, low=1, high=9)
COLUMN = F("n", 1)
ANY = special("n", 6)
BITS = "ONNX reads no bits of floats"


def cases() -> list[OpCase]:
    return [*_unary(), *_binary(), *_logic(), *_bits(), *_not_numbers(), *_types()]


def _unary() -> list[OpCase]:
    both = (
        "abs absolute arcsinh arctan ceil clip conj conjugate cos cosh deg2rad exp exp2 expm1 "
        "fabs floor imag i0 negative rad2deg real round sign signbit sin sinc sinh square tan tanh "
        "trunc isfinite isinf isnan isneginf isposinf isreal cbrt copy stop_gradient"
    )
    positive = "log log10 log1p log2 sqrt rsqrt reciprocal"
    plain = [name for name in both.split() if name != "clip"]
    return [
        *on_each(" ".join(plain), X, N),
        *on_each("erf erfc", X),
        *on_each("arccos arcsin arctanh erfinv", SMALL),
        *on_each("arccosh", F("n", 4, low=1.0, high=9.0), NATURAL),
        *on_each(positive, POSITIVE, NATURAL),
        *op("log1p", F("n", 4, low=-1e-5, high=1e-5), variant="tiny", tolerance=1e-10),
        *op("expm1", F("n", 4, low=-1e-5, high=1e-5), variant="tiny", tolerance=1e-10),
        *on_each("clip", X, N, x_min=-1, x_max=2),
        *on_each("round", X, N, decimals=1),
        *op("round", I("n", 4, low=-500, high=500), decimals=-2),
        *op("angle", X),
        *op("angle", N),
        *op("heaviside", X, X),
        *on_each("nan_to_num", X, N),
        *op("nan_to_num", ANY),
        *op("nan_to_num", ANY, nan=1.0, posinf=2.0, neginf=-3.0),
    ]


def _binary() -> list[OpCase]:
    both = "add subtract multiply maximum minimum fmax fmin arctan2 hypot logaddexp logaddexp2"
    divisors = (X, POSITIVE), (N, NATURAL)
    dividing = "divide true_divide floor_divide mod fmod divide_no_nan"
    return [
        *on_each(both, (X, X), (X, COLUMN), (N, N), (N, X)),
        *on_each(dividing, *divisors),
        *op("divide_no_nan", X, I("n", 4, low=0, high=2), variant="zeros"),
        *on_each("mod floor_divide", (X, F("n", 4, low=-4, high=-0.5)), variant="negative"),
        *on_each("mod floor_divide fmod", (N, I("n", 4, low=-4, high=0)), variant="negative"),
        *op("power", POSITIVE, X),
        *op("power", NATURAL, I("n", 4, low=0, high=4)),
        *op("power", X, call=lambda ops, x: ops.power(x, 3), variant="cube"),
        *on_each("gcd lcm", (N, NATURAL)),
        *op("ldexp", X, N),
        *refused(op("nextafter", X, X), "NextAfter", BITS),
        *op("add", I("n", 4, dtype="int64"), N, variant="mixed"),
        *op("logaddexp", F("n", 4, low=80, high=120), F("n", 4, low=80, high=120), variant="large"),
        *op("logaddexp", ANY, ANY, variant="special"),
        *op("saturate_cast", F("n", 4, low=-400, high=400), dtype="uint8"),
        *op("saturate_cast", I("n", 4, low=-400, high=400), dtype="int8"),
    ]


def _logic() -> list[OpCase]:
    compare = "equal not_equal greater greater_equal less less_equal"
    three = I("n", 4, low=0, high=3)
    return [
        *on_each(compare, (X, X), (three, three), (three, X)),
        *on_each("equal not_equal", (B("n", 4), B("n", 4))),
        *on_each("logical_and logical_or logical_xor", (B("n", 4), B("n", 4)), (three, three)),
        *on_each("logical_not", B("n", 4), three, X),
        *on_each("isclose allclose", (X, X), (three, three)),
        *op("isclose", ANY, ANY, equal_nan=True),
        *op("where", B("n", 4), X, X),
        *op("where", B("n", 4), N, N),
        *op("where", B("n", 4), call=lambda ops, c: ops.where(c, 1.0, 0.0), variant="numbers"),
    ]


def _bits() -> list[OpCase]:
    two = "bitwise_and bitwise_or bitwise_xor"
    shift = I("n", 4, low=0, high=4)
    shifts = "bitwise_left_shift bitwise_right_shift left_shift right_shift"
    found = on_each("bitwise_invert bitwise_not", N, I("n", 4, dtype="uint8", low=0, high=200))
    for dtype in ("int32", "int64", "uint8"):
        low, high = (0, 200) if dtype == "uint8" else (-90, 90)
        given = I("n", 4, low=low, high=high, dtype=dtype)
        found += on_each(two, (given, given))
    found += on_each(shifts, (N, shift))
    found += on_each("bitwise_and bitwise_or bitwise_xor", (B("n", 4), B("n", 4)))
    return found


def _not_numbers() -> list[OpCase]:
    names = "isfinite isinf isnan isneginf isposinf sign abs maximum minimum relu"
    one = [name for name in names.split() if name not in ("maximum", "minimum")]
    return [
        *on_each(" ".join(one), ANY, variant="special"),
        *on_each("maximum minimum fmax fmin", (ANY, ANY), variant="special"),
        *on_each("equal less", (ANY, ANY), variant="special"),
        *op("signbit", special("n", 6), variant="special"),
    ]


def _types() -> list[OpCase]:
    found: list[OpCase] = []
    for dtype in ("float16", "int32", "int64", "uint8", "bool", "float64"):
        found += op("cast", F("n", 4, low=0, high=9), dtype=dtype)
    found += op("cast", N, dtype="float32")
    found += op("cast", B("n", 4), dtype="float32")
    found += op("cast", special("n", 6), variant="special", dtype="bool")
    found += op("convert_to_tensor", X)
    found += op("array", X)
    floats = [*op("view", X, dtype="int32"), *op("view", N, dtype="float32")]
    found += refused(floats, "Bitcast", BITS)
    found += op("view", N, dtype="uint32")
    return found
