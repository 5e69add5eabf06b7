"""Operators that move or pick values without changing them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from quantizers.policy.operators.base import Factors, Operator
from runtimes.onnx_graph.values import constant, is_constant, is_op
from runtimes.targets import Storage

# Bytes saved on a smaller table do not make up for the node that widens the rows.
_SMALLEST_TABLE = 2048


class _Movement(Operator):
    kind = "movement"


class MaxPool(_Movement):
    """Maxima over windows."""

    picks = True
    ends_preactivation = True

    def refuse(self, node: ir.Node) -> str | None:
        if len(node.outputs) > 1 and node.outputs[1].uses():
            return "its indices are used"
        return None

    def factors(self, node: ir.Node) -> Factors | None:
        return "images" if len(node.outputs) == 1 else None


class Pad(_Movement):
    """Pads the codes themselves, with the zero point."""

    on_bytes = True

    def refuse(self, node: ir.Node) -> str | None:
        if len(node.inputs) > 2 and node.inputs[2] is not None:
            fill = constant(node.inputs[2])
            if fill is None or fill.any():
                return "it does not pad with zeros"
        return None

    def adapt_to_codes(self, node: ir.Node, zero_point: Callable[[], ir.Value]) -> None:
        if node.attributes.get_string("mode", "constant") == "constant":
            node.resize_inputs(max(len(node.inputs), 3))
            node.replace_input_with(2, zero_point())


class Resize(_Movement):
    """Repeats pixels."""

    def refuse(self, node: ir.Node) -> str | None:
        if node.attributes.get_string("mode", "nearest") != "nearest":
            return "ONNX Runtime interpolates in float only"
        return None


class Gather(_Movement):
    """Picks values, or looks rows of a constant table up: an embedding."""

    def refuse(self, node: ir.Node) -> str | None:
        return "it reads a constant table" if is_constant(node.inputs[0]) else None

    def storage(self, node: ir.Node) -> Storage | None:
        rows, table = node.inputs[0], constant(node.inputs[0])
        if rows is None or table is None or node.attributes.get_int("axis", 0) != 0:
            return None
        if table.dtype != np.float32 or table.ndim != 2 or table.size < _SMALLEST_TABLE:
            return None
        lookups = all(is_op(use.node, self.op_type) and use.idx == 0 for use in rows.uses())
        return "table" if lookups else None


class Reshape(_Movement):
    """Another shape."""

    def factors(self, node: ir.Node) -> Factors | None:
        return "flatten"


class Flatten(_Movement):
    """Another shape."""

    def factors(self, node: ir.Node) -> Factors | None:
        return "flatten"


class Transpose(_Movement):
    """Another order of axes."""


class Squeeze(_Movement):
    """Fewer axes."""


class Unsqueeze(_Movement):
    """More axes."""


class Slice(_Movement):
    """A part."""


class Expand(_Movement):
    """The same values again."""


class Tile(_Movement):
    """The same values again."""


class DepthToSpace(_Movement):
    """Channels as pixels."""


OPERATORS = (
    *(MaxPool(), Pad(), Resize(), Gather(), Reshape(), Flatten(), Transpose(), Squeeze()),
    *(Unsqueeze(), Slice(), Expand(), Tile(), DepthToSpace()),
)
