"""Operators that compute every element on its own, and so keep the order of the axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

from quantizers.training.operators.base import Call, Operator
from quantizers.training.tensors import Tensor


def unary(name: str) -> Operator:
    """The operator that is ``tf.math.name`` of its input."""

    def operator(call: Call) -> Sequence[Tensor]:
        import tensorflow as tf

        return [call[0].like(getattr(tf.math, name)(call[0].data))]

    return operator


def activation(compute: Callable[[Any, Call], Any]) -> Operator:
    """The operator that is ``compute(x, call)``, element by element."""

    def operator(call: Call) -> Sequence[Tensor]:
        return [call[0].like(compute(call[0].data, call))]

    return operator


def binary(name: str) -> Operator:
    """The operator that is ``tf.math.name`` of two inputs, broadcast as NumPy does."""

    def operator(call: Call) -> Sequence[Tensor]:
        import tensorflow as tf

        left, right = aligned([call[0], call[1]])
        return [Tensor(getattr(tf.math, name)(left.data, right.data), left.channels_last)]

    return operator


def variadic(name: str, *, mean: bool = False) -> Operator:
    """The operator that folds ``tf.math.name`` over any number of inputs."""

    def operator(call: Call) -> Sequence[Tensor]:
        import tensorflow as tf

        tensors = aligned([tensor for tensor in call.inputs if tensor is not None])
        data = reduce(getattr(tf.math, name), [tensor.data for tensor in tensors])
        if mean:
            data = data / len(tensors)
        return [tensors[0].like(data)]

    return operator


def aligned(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The tensors in one order of axes, so that they broadcast against each other."""
    rank = max(tensor.rank for tensor in tensors)
    kept = [tensor.channels_last and tensor.rank == rank for tensor in tensors]
    if not any(kept):
        return [Tensor(tensor.first) for tensor in tensors]
    return [
        tensor if keeps else Tensor(Tensor(tensor.first).last_at_rank(rank), channels_last=True)
        for tensor, keeps in zip(tensors, kept, strict=True)
    ]


def divide(call: Call) -> Sequence[Tensor]:
    """Division; of integers towards zero, as ONNX has it."""
    import tensorflow as tf

    left, right = aligned([call[0], call[1]])
    if tf.as_dtype(left.data.dtype).is_integer:
        return [left.like(tf.truncatediv(left.data, right.data))]
    return [left.like(tf.math.divide(left.data, right.data))]


def power(call: Call) -> Sequence[Tensor]:
    """X to a power, which may be of another dtype."""
    import tensorflow as tf

    left, right = aligned([call[0], call[1]])
    return [left.like(tf.math.pow(left.data, tf.cast(right.data, left.data.dtype)))]


def modulo(call: Call) -> Sequence[Tensor]:
    """The remainder, with the sign of the divisor, or of the dividend where ``fmod``."""
    import tensorflow as tf

    left, right = aligned([call[0], call[1]])
    if not call.attribute("fmod", 0):
        return [left.like(tf.math.mod(left.data, right.data))]
    data = tf.truncatemod(left.data, right.data)
    if tf.as_dtype(data.dtype).is_floating:  # TensorFlow has no gradient of it
        whole = tf.stop_gradient(tf.math.rint((left.data - data) / right.data))
        line = left.data - whole * right.data
        data = line + tf.stop_gradient(data - line)
    return [left.like(data)]


def clip(call: Call) -> Sequence[Tensor]:
    """X between two bounds, either of which may be missing."""
    import tensorflow as tf

    x = call[0]
    low, high = _bound(call, 1, "min"), _bound(call, 2, "max")
    data = x.data
    if low is not None:
        data = tf.maximum(data, tf.cast(low, data.dtype))
    if high is not None:
        data = tf.minimum(data, tf.cast(high, data.dtype))
    return [x.like(data)]


def _bound(call: Call, place: int, attribute: str) -> Any:
    given = call.optional(place)
    return call.attribute(attribute) if given is None else given.data


def where(call: Call) -> Sequence[Tensor]:
    """The second input where the first is true, else the third."""
    import tensorflow as tf

    condition, yes, no = aligned([call[0], call[1], call[2]])
    return [yes.like(tf.where(condition.data, yes.data, no.data))]


def prelu(call: Call) -> Sequence[Tensor]:
    """X where it is positive, else slope * x; the slope broadcasts to x."""
    import tensorflow as tf

    x, slope = aligned([call[0], call[1]])
    return [x.like(tf.where(x.data > 0, x.data, slope.data * x.data))]


def gelu(x: Any, call: Call) -> Any:
    """X times the normal distribution function, or its approximation by tanh."""
    import tensorflow as tf

    return tf.nn.gelu(x, approximate=call.attribute("approximate", "none") == "tanh")


def leaky_relu(x: Any, call: Call) -> Any:
    """X where it is positive, else alpha * x."""
    import tensorflow as tf

    return tf.where(x > 0, x, call.attribute("alpha", 0.01) * x)


def elu(x: Any, call: Call) -> Any:
    """X where it is positive, else alpha * (exp(x) - 1)."""
    import tensorflow as tf

    return tf.where(x > 0, x, call.attribute("alpha", 1.0) * tf.math.expm1(tf.minimum(x, 0)))


def celu(x: Any, call: Call) -> Any:
    """max(0, x) + min(0, alpha * (exp(x / alpha) - 1))."""
    import tensorflow as tf

    alpha = call.attribute("alpha", 1.0)
    return tf.where(x > 0, x, alpha * tf.math.expm1(tf.minimum(x, 0) / alpha))


def selu(x: Any, call: Call) -> Any:
    """Gamma * (x, or alpha * (exp(x) - 1) where x is negative)."""
    import tensorflow as tf

    alpha = call.attribute("alpha", 1.67326319217681884765625)
    gamma = call.attribute("gamma", 1.05070102214813232421875)
    return gamma * tf.where(x > 0, x, alpha * tf.math.expm1(tf.minimum(x, 0)))


def hard_sigmoid(x: Any, call: Call) -> Any:
    """Alpha * x + beta within 0 and 1."""
    import tensorflow as tf

    line = call.attribute("alpha", 0.2) * x + call.attribute("beta", 0.5)
    return tf.clip_by_value(line, 0, 1)


def hard_swish(x: Any, call: Call) -> Any:
    """X times a hard sigmoid of slope 1/6."""
    import tensorflow as tf

    return x * tf.clip_by_value(x / 6 + 0.5, 0, 1)


def mish(x: Any, call: Call) -> Any:
    """X times tanh of softplus of x."""
    import tensorflow as tf

    return x * tf.math.tanh(tf.math.softplus(x))


def swish(x: Any, call: Call) -> Any:
    """X times the sigmoid of alpha * x."""
    import tensorflow as tf

    return x * tf.math.sigmoid(call.attribute("alpha", 1.0) * x)


def thresholded_relu(x: Any, call: Call) -> Any:
    """X where it is above alpha, else 0."""
    import tensorflow as tf

    return tf.where(x > call.attribute("alpha", 1.0), x, tf.zeros_like(x))


def shrink(x: Any, call: Call) -> Any:
    """X + bias below -lambd, x - bias above lambd, else 0."""
    import tensorflow as tf

    bias, edge = call.attribute("bias", 0.0), call.attribute("lambd", 0.5)
    return tf.where(x < -edge, x + bias, tf.where(x > edge, x - bias, tf.zeros_like(x)))


def identity(call: Call) -> Sequence[Tensor]:
    """The input itself; with a Dropout's mask unread, that one too."""
    return [call[0]]


_UNARY = {
    "Abs": "abs",
    "Acos": "acos",
    "Acosh": "acosh",
    "Asin": "asin",
    "Asinh": "asinh",
    "Atan": "atan",
    "Atanh": "atanh",
    "Ceil": "ceil",
    "Cos": "cos",
    "Cosh": "cosh",
    "Erf": "erf",
    "Exp": "exp",
    "Floor": "floor",
    "IsInf": "is_inf",
    "IsNaN": "is_nan",
    "Log": "log",
    "Neg": "negative",
    "Not": "logical_not",
    "Reciprocal": "reciprocal",
    "Round": "rint",
    "Sigmoid": "sigmoid",
    "Sign": "sign",
    "Sin": "sin",
    "Sinh": "sinh",
    "Softplus": "softplus",
    "Sqrt": "sqrt",
    "Tan": "tan",
    "Tanh": "tanh",
}

_BINARY = {
    "Add": "add",
    "And": "logical_and",
    "Equal": "equal",
    "Greater": "greater",
    "GreaterOrEqual": "greater_equal",
    "Less": "less",
    "LessOrEqual": "less_equal",
    "Mul": "multiply",
    "Or": "logical_or",
    "Sub": "subtract",
    "Xor": "logical_xor",
}


def _relu(x: Any, call: Call) -> Any:
    import tensorflow as tf

    return tf.nn.relu(x)


def _softsign(x: Any, call: Call) -> Any:
    import tensorflow as tf

    return tf.nn.softsign(x)


OPERATORS: dict[str, Operator] = {
    **{name: unary(function) for name, function in _UNARY.items()},
    **{name: binary(function) for name, function in _BINARY.items()},
    "Celu": activation(celu),
    "Clip": clip,
    "Div": divide,
    "Dropout": identity,
    "Elu": activation(elu),
    "Gelu": activation(gelu),
    "HardSigmoid": activation(hard_sigmoid),
    "HardSwish": activation(hard_swish),
    "Identity": identity,
    "LeakyRelu": activation(leaky_relu),
    "Max": variadic("maximum"),
    "Mean": variadic("add", mean=True),
    "Min": variadic("minimum"),
    "Mish": activation(mish),
    "Mod": modulo,
    "PRelu": prelu,
    "Pow": power,
    "Relu": activation(_relu),
    "Selu": activation(selu),
    "Shrink": activation(shrink),
    "Softsign": activation(_softsign),
    "Sum": variadic("add"),
    "Swish": activation(swish),
    "ThresholdedRelu": activation(thresholded_relu),
    "Where": where,
}
