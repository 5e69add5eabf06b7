"""Weights that are learned as matrices: every direction of a step is as long as every other.

The gradient of a matrix is mostly that of few directions. Adam takes each number for itself and
goes along those; the nearest orthogonal matrix goes along all of them (Muon, Jordan et al. 2024,
https://kellerjordan.github.io/posts/muon). Scaled to the size of a step of Adam (Liu et al.,
https://arxiv.org/abs/2502.16982), both share a rate.
"""

from __future__ import annotations

import math
from typing import Any

import onnx_ir as ir

from runtimes.onnx_graph.values import is_op

# The size of a number of a step, as a share of Adam's largest.
_SIZE = 0.2
# Smaller ones have no directions to speak of.
_LEAST = 4
# What the iteration costs grows with the rows, and what the layer itself costs with the places that
# it is applied at: rows for each place, so that a step takes little longer.
_ROWS_A_PLACE = 50
# Five rounds of an iteration of Newton and Schulz, which bring all singular values near 1. These
# coefficients, of Jordan's, are those that raise small ones fastest.
_ROUNDS, _COEFFICIENTS = 5, (3.4445, -4.7750, 2.0315)
_EPSILON = 1e-7


def matrices_of(model: ir.Model) -> frozenset[str]:
    """Names of the initializers of ``model`` that are learned as matrices.

    Weights of floats of dense layers and of convolutions of one group, where the iteration takes
    not much longer than the layer.
    """
    found = set()
    for node in model.graph:
        if not is_op(node, "Conv", "Gemm", "MatMul") or len(node.inputs) <= 1:
            continue
        weight = node.inputs[1]
        if weight is None or weight.const_value is None or node.attributes.get_int("group", 1) > 1:
            continue
        shape = tuple(weight.const_value.shape.numpy())
        if node.op_type != "Conv" and len(shape) > 2:
            continue
        rows = min(shape[0], math.prod(shape[1:]))
        if _LEAST <= rows <= _ROWS_A_PLACE * _places(node):
            found.add(str(weight.name))
    return frozenset(found)


def along_all(gradient: Any) -> Any:
    """A step along ``gradient`` as long in every direction; the first axis has the rows."""
    import tensorflow as tf

    shape = gradient.shape
    rows, columns = shape[0], math.prod(shape[1:])
    matrix = tf.reshape(gradient, (rows, columns))
    matrix = tf.transpose(matrix) if rows > columns else matrix
    matrix /= tf.norm(matrix) + _EPSILON
    first, second, third = _COEFFICIENTS
    for _ in range(_ROUNDS):
        square = tf.matmul(matrix, matrix, transpose_b=True)
        matrix = first * matrix + tf.matmul(second * square + third * square @ square, matrix)
    matrix = tf.transpose(matrix) if rows > columns else matrix
    return _SIZE * math.sqrt(max(rows, columns)) * tf.reshape(matrix, shape)


def _places(node: ir.Node) -> int:
    """How many places of a sample a layer is applied at, as far as shapes tell; 1 at least."""
    shape = node.outputs[0].shape
    if shape is None:
        return 1
    sizes = shape[2:] if node.op_type == "Conv" else shape[1:-1]
    return math.prod(size for size in sizes if isinstance(size, int))
