"""Compute one node on arrays, as constant folding needs it, without a runtime.

Frequent operators are one numpy expression each. The others use ONNX's own reference
implementation, which is correct but slow, so it is used for small tensors only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir

from runtimes.onnx_graph.values import Array, constant, is_op

REFERENCE_LIMIT = 16384
"""Total elements of all inputs above which the reference implementation is not used."""

MOST_PRODUCTS = 1 << 30
"""Multiply-adds above which a matrix product is not computed; this many take about a second."""


def evaluate(node: ir.Node, inputs: Sequence[Array | None], opset: int) -> list[Array] | None:
    """Outputs of ``node`` for these inputs, or ``None`` if it cannot be computed here.

    An absent optional input is ``None``. The arrays may share memory with the inputs.
    Raises ``ValueError`` or ``IndexError`` for inputs on which the operator is not defined.
    """
    arrays = [array for array in inputs if array is not None]
    by_numpy = _BY_NUMPY.get(node.op_type)
    # Older operator sets define these operators differently; the reference handles those.
    if by_numpy is not None and opset >= 11 and len(arrays) == len(inputs):
        result = by_numpy(node, arrays)
        if result is not None:
            return [np.asarray(result)]
    if sum(array.size for array in arrays) > REFERENCE_LIMIT:
        return None
    return _by_reference(node, inputs, opset)


def _transpose(node: ir.Node, arrays: list[Array]) -> Array:
    return np.transpose(arrays[0], node.attributes.get_ints("perm"))


def _reshape(node: ir.Node, arrays: list[Array]) -> Array:
    dims = [int(dim) for dim in arrays[1]]
    if not node.attributes.get_int("allowzero", 0):
        dims = [arrays[0].shape[axis] if dim == 0 else dim for axis, dim in enumerate(dims)]
    return arrays[0].reshape(dims)


def _axes(node: ir.Node, arrays: list[Array]) -> tuple[int, ...] | None:
    if len(arrays) > 1:
        return tuple(int(axis) for axis in arrays[1].reshape(-1))
    axes = node.attributes.get_ints("axes")
    return None if axes is None else tuple(axes)


def _squeeze(node: ir.Node, arrays: list[Array]) -> Array:
    return np.squeeze(arrays[0], _axes(node, arrays))


def _unsqueeze(node: ir.Node, arrays: list[Array]) -> Array | None:
    axes = _axes(node, arrays)
    return None if axes is None else np.expand_dims(arrays[0], axes)


def _concat(node: ir.Node, arrays: list[Array]) -> Array:
    return np.concatenate(arrays, axis=node.attributes.get_int("axis", 0))


def _gather(node: ir.Node, arrays: list[Array]) -> Array:
    axis = node.attributes.get_int("axis", 0)
    return np.take(arrays[0], arrays[1].astype(np.int64), axis=axis, mode="raise")


def _slice(node: ir.Node, arrays: list[Array]) -> Array | None:
    if len(arrays) < 3:
        return None
    first, starts, ends = arrays[:3]
    axes = arrays[3] if len(arrays) > 3 else range(len(starts))
    steps = arrays[4] if len(arrays) > 4 else [1] * len(starts)
    slices = [slice(None)] * first.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        # Python clamps out-of-range positions exactly as ONNX does.
        slices[int(axis)] = slice(int(start), int(end), int(step))
    return np.asarray(first[tuple(slices)])


def _shape(node: ir.Node, arrays: list[Array]) -> Array:
    start, end = node.attributes.get_int("start", 0), node.attributes.get_int("end", None)
    return np.array(arrays[0].shape, dtype=np.int64)[start:end]


_ORDINARY = frozenset(
    {
        ir.DataType.FLOAT,
        ir.DataType.DOUBLE,
        ir.DataType.FLOAT16,
        ir.DataType.BFLOAT16,
        ir.DataType.BOOL,
        ir.DataType.INT8,
        ir.DataType.INT16,
        ir.DataType.INT32,
        ir.DataType.INT64,
        ir.DataType.UINT8,
        ir.DataType.UINT16,
        ir.DataType.UINT32,
        ir.DataType.UINT64,
    }
)


def _cast(node: ir.Node, arrays: list[Array]) -> Array | None:
    """Cast between the ordinary number types, whose rules numpy shares with ONNX."""
    array, to = arrays[0], ir.DataType(node.attributes.get_int("to", 0))
    if to not in _ORDINARY or ir.DataType.from_numpy(array.dtype) not in _ORDINARY:
        return None
    target = to.numpy()
    if array.dtype.kind not in "iub" and target.kind in "iu":
        info = np.iinfo(target)
        numbers = array.astype(np.float64)
        # The result of an out-of-range cast depends on the machine: do not bake one in.
        if not np.all((numbers > float(info.min) - 1) & (numbers < float(info.max) + 1)):
            raise ValueError(f"a number does not fit {to.name}")
    with np.errstate(over="ignore"):
        return array.astype(target)


def _integer_division(left: Array, right: Array) -> Array:
    """ONNX divides integers towards zero, numpy towards minus infinity."""
    if not np.all(right != 0):
        raise ValueError("integers are divided by zero")
    quotient: Array = np.floor_divide(left, right)
    inexact = quotient * right != left
    toward_zero = (inexact & ((left < 0) != (right < 0))).astype(quotient.dtype)
    corrected: Array = quotient + toward_zero
    return corrected


def _divide(left: Array, right: Array) -> Array:
    return _integer_division(left, right) if left.dtype.kind in "iu" else np.divide(left, right)


def _matmul(node: ir.Node, arrays: list[Array]) -> Array | None:
    """A product of floats, summed in double precision and rounded once."""
    left, right = arrays
    if left.dtype.kind != "f" or left.ndim == 0 or right.ndim == 0:
        return None
    if left.size * right.size > MOST_PRODUCTS * max(1, left.shape[-1]):
        return None
    with np.errstate(all="ignore"):
        product = left.astype(np.float64) @ right.astype(np.float64)
        return np.asarray(product).astype(left.dtype)


_ELEMENTWISE: dict[str, Callable[..., Array]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": _divide,
    "Neg": np.negative,
    "Abs": np.abs,
    "Sqrt": np.sqrt,
    "Floor": np.floor,
    "Ceil": np.ceil,
    "Reciprocal": np.reciprocal,
}


def _elementwise(node: ir.Node, arrays: list[Array]) -> Array | None:
    if arrays[0].dtype.kind not in "fiu":
        return None
    with np.errstate(all="ignore"):
        return _ELEMENTWISE[node.op_type](*arrays)


_BY_NUMPY: dict[str, Callable[[ir.Node, list[Array]], Array | None]] = {
    "Identity": lambda node, arrays: arrays[0],
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Cast": _cast,
    "Concat": _concat,
    "Gather": _gather,
    "Slice": _slice,
    "Shape": _shape,
    "MatMul": _matmul,
    **dict.fromkeys(_ELEMENTWISE, _elementwise),
}


def _by_reference(node: ir.Node, inputs: Sequence[Array | None], opset: int) -> list[Array] | None:
    # Imported here, because the reference implementation loads every operator it knows.
    from onnx.reference import ReferenceEvaluator

    names = [f"input_{index}" if array is not None else "" for index, array in enumerate(inputs)]
    values = {
        name: ir.val(name, ir.DataType.from_numpy(array.dtype), array.shape)
        for name, array in zip(names, inputs, strict=True)
        if array is not None
    }
    outputs = [ir.Value(name=f"output_{i}" if o.name else "") for i, o in enumerate(node.outputs)]
    copy = ir.Node(
        node.domain,
        node.op_type,
        [values.get(name) for name in names],
        node.attributes.values(),
        outputs=outputs,
    )
    named = [output for output in outputs if output.name]
    graph = ir.Graph(
        list(values.values()), named, nodes=[copy], opset_imports={"": opset}, name="folded"
    )
    try:
        evaluator = ReferenceEvaluator(ir.to_proto(ir.Model(graph, ir_version=10)))
        with np.errstate(all="ignore"):
            results = evaluator.run(None, dict(zip(names, inputs, strict=True)))
    except (NotImplementedError, RuntimeError, TypeError, KeyError):
        # Not every operator has a reference implementation for every type, or any at all.
        return None
    by_name = dict(zip((value.name for value in named), results, strict=True))
    if not all(isinstance(result, np.ndarray | np.generic) for result in results):
        return None
    return [np.asarray(by_name.get(output.name, np.zeros(0))) for output in outputs]


# Their results differ between two calls with the same inputs.
_RANDOM = (
    "Bernoulli",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
)


def is_random(node: ir.Node) -> bool:
    """Whether two runs of ``node`` on the same inputs may differ."""
    if is_op(node, "Dropout"):
        training = node.inputs[2] if len(node.inputs) > 2 else None
        stays_off = constant(training)
        return training is not None and (stays_off is None or bool(stays_off))
    return is_op(node, *_RANDOM)
