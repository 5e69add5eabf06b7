"""Per-channel affine maps, y = scale·x + offset, as they occur in ONNX graphs.

Mul, Div, Add and Sub with a constant and BatchNormalization at inference all have this form:
``scale = gamma / sqrt(variance + epsilon)``, ``offset = beta - mean · scale``.
https://arxiv.org/abs/1502.03167
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from runtimes.onnx_graph.rewrite import Refused
from runtimes.onnx_graph.values import constant, is_constant, is_op, shape_of

Float64 = npt.NDArray[np.float64]

FLOATS = frozenset(
    {ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE}
)


@dataclass(frozen=True)
class Affine:
    """y = scale·x + offset, with one number per channel, or one for all.

    ``scale`` and ``offset`` are float64 of shape () or (channels,). ``axis`` is the channel
    axis of x counted from its end (negative); it is ``None`` where both are single numbers.
    ``constant_rank`` is the smallest rank of x at which broadcasting does not add dimensions.
    """

    scale: Float64
    offset: Float64
    axis: int | None
    constant_rank: int = 0

    @property
    def channels(self) -> int | None:
        """Number of channels, or ``None`` for single numbers."""
        sizes = [array.size for array in (self.scale, self.offset) if array.ndim]
        return sizes[0] if sizes else None

    def then(self, after: Affine) -> Affine:
        """The map that applies ``self`` first and ``after`` to its result."""
        return Affine(
            self.scale * after.scale,
            self.offset * after.scale + after.offset,
            self.axis if self.axis is not None else after.axis,
            max(self.constant_rank, after.constant_rank),
        )

    def only_adds(self) -> bool:
        """Whether the scale is exactly one everywhere."""
        return bool(np.all(self.scale == 1.0))

    def only_scales(self) -> bool:
        """Whether the offset is exactly zero everywhere."""
        return not bool(np.any(self.offset))


_ONE = np.ones(())
_ZERO = np.zeros(())
IDENTITY = Affine(_ONE, _ZERO, None)


def affine_of(node: ir.Node, rank: int | None = None) -> tuple[ir.Value, Affine] | None:
    """Interpret ``node`` as a per-channel affine map of one of its inputs (of ``rank``, if known).

    Returns that input and the map, or ``None`` if the node is something else. Raises ``Refused``
    if the node has the right form, but its constants do not allow it.
    """
    if is_op(node, "BatchNormalization"):
        return _batch_normalization(node, rank)
    operands = _data_and_constant(node)
    if operands is None:
        return None
    source, operand, data_is_left = operands
    numbers, axis = _per_channel(operand)
    operand_rank = len(operand.shape)
    if is_op(node, "Div"):
        if not np.all(numbers):
            raise Refused("it divides by zero")
        return source, Affine(1.0 / numbers, _ZERO, axis, operand_rank)
    if is_op(node, "Mul"):
        return source, Affine(numbers, _ZERO, axis, operand_rank)
    if is_op(node, "Sub") and data_is_left:
        numbers = -numbers
    scale = -_ONE if is_op(node, "Sub") and not data_is_left else _ONE
    return source, Affine(scale, numbers, axis, operand_rank)


def _data_and_constant(node: ir.Node) -> tuple[ir.Value, ir.TensorProtocol, bool] | None:
    """Data, floating-point constant, and whether the data is the left operand."""
    if not is_op(node, "Mul", "Div", "Add", "Sub") or len(node.inputs) != 2:
        return None
    left, right = node.inputs
    if left is None or right is None or is_constant(left) == is_constant(right):
        return None
    source, operand = (right, left) if is_constant(left) else (left, right)
    if is_op(node, "Div") and source is right:
        return None
    tensor = operand.const_value
    if tensor is None or tensor.dtype not in FLOATS:
        return None
    return source, tensor, source is left


def _per_channel(tensor: ir.TensorProtocol) -> tuple[Float64, int | None]:
    """The numbers of a constant that differs along one axis at most, and that axis."""
    shape = shape_of(tensor)
    wide = [axis for axis, dim in enumerate(shape) if dim != 1]
    if len(wide) > 1 or 0 in shape:
        raise Refused("its constant is not one number per channel")
    numbers = np.asarray(tensor.numpy()).astype(np.float64).reshape(-1)
    if not np.all(np.isfinite(numbers)):
        raise Refused("its constant holds NaN or infinity")
    if not wide:
        return numbers.reshape(()), None
    return numbers, wide[0] - len(shape)


def _batch_normalization(node: ir.Node, rank: int | None) -> tuple[ir.Value, Affine] | None:
    source = node.inputs[0]
    if source is None or len(node.inputs) != 5:
        return None
    # Until opset 13 further outputs alone say so, used or not.
    if node.attributes.get_int("training_mode", 0) or any(out.name for out in node.outputs[1:]):
        raise Refused("it normalizes with the statistics of the batch (training mode)")
    if not node.attributes.get_int("spatial", 1):  # until opset 8
        raise Refused("it has separate statistics for every spatial position")
    arrays = [constant(value) for value in node.inputs[1:]]
    gamma, beta, mean, variance = (
        np.zeros(0) if array is None else array.astype(np.float64).reshape(-1) for array in arrays
    )
    if any(array is None for array in arrays):
        raise Refused("its statistics are not constants")
    rank = len(source.shape) if source.shape is not None else rank
    if rank is None or rank < 2:
        raise Refused("the channel axis of its input is not known")
    spread = variance + node.attributes.get_float("epsilon", 1e-5)
    if not np.all(spread > 0):
        raise Refused("variance + epsilon is not positive in every channel")
    scale = gamma / np.sqrt(spread)
    offset = beta - mean * scale
    if not (np.all(np.isfinite(scale)) and np.all(np.isfinite(offset))):
        raise Refused("its statistics hold NaN or infinity")
    return source, Affine(scale, offset, 1 - rank, rank)
