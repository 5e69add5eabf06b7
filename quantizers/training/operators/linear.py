"""Products of matrices."""

from __future__ import annotations

from collections.abc import Sequence

from quantizers.training.operators.base import Call, Operator
from quantizers.training.tensors import Tensor


def matmul(call: Call) -> Sequence[Tensor]:
    """NumPy's ``matmul``: vectors too, and leading axes that broadcast."""
    import tensorflow as tf

    left, right = call.first(0), call.first(1)
    left_rank, right_rank = len(left.shape), len(right.shape)
    if left_rank == 1:
        left = tf.expand_dims(left, 0)
    if right_rank == 1:
        right = tf.expand_dims(right, -1)
    if left_rank > 2 and len(right.shape) == 2:  # one product instead of one for each leading place
        data = tf.tensordot(left, right, 1)
    else:
        data = tf.matmul(left, right)
    if right_rank == 1:
        data = tf.squeeze(data, -1)
    if left_rank == 1:
        data = tf.squeeze(data, -1 if right_rank == 1 else -2)
    return [Tensor(data)]


def gemm(call: Call) -> Sequence[Tensor]:
    """A product: alpha * A * B + beta * C, with A or B transposed."""
    import tensorflow as tf

    data = tf.matmul(
        call.first(0),
        call.first(1),
        transpose_a=bool(call.attribute("transA", 0)),
        transpose_b=bool(call.attribute("transB", 0)),
    )
    alpha, beta = call.attribute("alpha", 1.0), call.attribute("beta", 1.0)
    data = data if alpha == 1 else alpha * data
    if call.optional(2) is None:
        return [Tensor(data)]
    added = call.first(2)
    return [Tensor(data + (added if beta == 1 else beta * added))]


def einsum(call: Call) -> Sequence[Tensor]:
    """Sums of products by Einstein's notation."""
    import tensorflow as tf

    operands = [tensor.first for tensor in call.inputs if tensor is not None]
    return [Tensor(tf.einsum(call.attribute("equation"), *operands))]


OPERATORS: dict[str, Operator] = {"Einsum": einsum, "Gemm": gemm, "MatMul": matmul}
