"""Operators that compute every element on its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from trainable_cases.case import Case, case, floats, indices, positive

X = floats(2, 3, 4, 5)
SIGNED = np.sign(X) * (np.abs(X) + 0.05)

_UNARY = {
    **dict.fromkeys(("Abs", "Neg", "Reciprocal", "Sign"), SIGNED),
    **dict.fromkeys(("Ceil", "Floor", "Round"), 3 * X),
    **dict.fromkeys(("Acos", "Asin", "Atanh"), np.tanh(X) * np.float32(0.9)),
    **dict.fromkeys(
        ("Asinh", "Atan", "Cos", "Cosh", "Erf", "Exp", "Sin", "Sinh", "Tanh", "Sigmoid"), X
    ),
    **dict.fromkeys(("Softplus", "Softsign", "HardSwish", "Mish", "Identity"), X),
    **dict.fromkeys(("Elu", "LeakyRelu", "Selu", "Celu", "Relu", "HardSigmoid"), SIGNED),
    **dict.fromkeys(("ThresholdedRelu", "Shrink"), 2 * SIGNED),
    "Tan": np.tanh(X),
    "Acosh": 1 + positive(2, 3, 4, 5),
    **dict.fromkeys(("Log", "Sqrt"), positive(2, 3, 4, 5)),
}
# Steps: their gradient is nothing, so there is nothing to compare.
_STEPS = frozenset({"Ceil", "Floor", "Round", "Sign"})


def cases() -> list[Case]:
    """All of them."""
    return [*_unary(), *_with_attributes(), *_binary(), *_logical(), *_variadic(), *_others()]


def _unary() -> list[Case]:
    found = [case(name, x) for name, x in _UNARY.items()]
    found.append(case("Swish", X, opset=24))
    return [replace(one, differentiable=one.op_type not in _STEPS) for one in found]


def _with_attributes() -> list[Case]:
    return [
        case("Gelu", X, opset=20),
        case("Gelu", X, opset=20, approximate="tanh"),
        case("LeakyRelu", SIGNED, alpha=0.3),
        case("Elu", SIGNED, alpha=1.7),
        case("Celu", SIGNED, alpha=0.6),
        case("Selu", SIGNED, alpha=1.5, gamma=0.7),
        case("HardSigmoid", 3 * SIGNED, alpha=0.3, beta=0.4),
        case("ThresholdedRelu", SIGNED, alpha=0.4),
        case("Shrink", SIGNED, bias=0.3, lambd=0.7),
        case("Swish", X, opset=24, alpha=0.5),
        case("Clip", SIGNED, opset=10, min=-0.5, max=0.7),
        case("Clip", SIGNED, np.float32(-0.5), np.float32(0.7)),
        case("Clip", SIGNED, None, np.float32(0.7)),
        case("Clip", SIGNED, np.float32(-0.2)),
        case("Dropout", X),
    ]


def _binary() -> list[Case]:
    other = np.sign(floats(2, 3, 4, 5, seed=1)) * positive(2, 3, 4, 5)
    found = [case(name, X, other) for name in ("Add", "Sub", "Mul", "Div")]
    found += [
        case("Add", X, floats(3, 1, 1)),
        case("Mul", X, floats(5)),
        case("Sub", floats(5), X),
        case("Mul", X, floats(1, 3, 1, 5)),
        case("Add", floats(2, 3, 4), floats(6, 1, 3, 4)),
        case("Div", X, np.float32(1.5)),
        case("Div", indices(20, 4, low=-20), np.array([3, -7, 2, 5])),
        case("Pow", positive(2, 3, 4), floats(4)),
        case("Pow", X, np.array(2, np.int64)),
        replace(case("Pow", X, np.array(3, np.float32)), constant=frozenset({1})),
        case("PRelu", SIGNED, floats(3, 1, 1)),
        case("PRelu", SIGNED, floats(5)),
        case("Mod", X, positive(2, 3, 4, 5), fmod=1),
        case("Mod", indices(20, 6, low=-20), np.array([3, -7, 2, 5, 4, -3])),
        case("Mod", indices(20, 6, low=-20), np.array([3, -7, 2, 5, 4, -3]), fmod=1),
    ]
    return found


def _logical() -> list[Case]:
    yes, no = floats(3, 4) > 0, floats(3, 4, seed=1) > 0
    near = np.round(floats(3, 4))
    names = ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")
    found = [case(name, near, np.round(floats(4))) for name in names]
    found += [case(name, yes, no) for name in ("And", "Or", "Xor")]
    odd = np.array([1, np.nan, np.inf, -np.inf], np.float32)
    found += [case("Not", yes), case("IsNaN", odd), case("IsInf", odd)]
    return [replace(one, differentiable=False) for one in found]


def _variadic() -> list[Case]:
    three = (X, floats(3, 1, 1), floats(2, 3, 4, 5, seed=2))
    found = [case(name, *three) for name in ("Max", "Mean", "Min", "Sum")]
    return [*found, case("Max", X), case("Min", floats(2, 3, 4), floats(3, 4, seed=3))]


def _others() -> list[Case]:
    condition = floats(2, 3, 4, 5, seed=4) > 0
    return [
        Case("Where", (condition, X, floats(5)), {}),
        Case("Where", (floats(3, 1, 1) > 0, X, floats(2, 3, 4, 5, seed=5)), {}),
    ]
