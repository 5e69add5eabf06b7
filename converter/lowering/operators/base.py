"""What every lowering of a TensorFlow operator stands on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from converter.lowering.builder import Builder

COMPLEX = (14, 15)
"""ONNX's numbers of complex64 and complex128."""


OperatorLowering = Callable[[Builder, Any], Sequence[str]]
"""Writes an operator's nodes and returns the names of its outputs.

``NotImplemented`` instead leaves the operator, as it is used, to tf2onnx's own handler.
"""

Inherited = Mapping[str, tuple[Callable[..., None], Mapping[str, Any]]]
"""tf2onnx's own handlers by TensorFlow operator name, with what they are called with."""


class UnsupportedLowering(Exception):
    """An operator cannot be written as it is used; the message says why.

    ``node`` is its name and ``operator`` its type, for the export to name the layer.
    """

    def __init__(self, node: Any, reason: str) -> None:
        super().__init__(reason)
        self.node = str(node.name)
        self.operator = str(node.type)


def handler_of(
    lowering: OperatorLowering, inherited: Inherited
) -> tuple[Callable[..., None], list[Any]]:
    """tf2onnx's form of a lowering."""

    def handler(ctx: Any, node: Any, _name: str, _args: Any) -> None:
        convert(ctx, node, lowering, inherited)

    return handler, []


def convert(ctx: Any, node: Any, lowering: OperatorLowering | None, inherited: Inherited) -> None:
    """Convert a node of tf2onnx's graph, in place: with ``lowering``, or as tf2onnx does it."""
    build = Builder(ctx, node)
    outputs = list(node.output)
    # Complex tensors are real ones of another shape, see operators.complex_numbers.
    pairs = [build.dtype(each) in COMPLEX for each in outputs]
    shapes = [
        None if pair else build.shape(each) for pair, each in zip(pairs, outputs, strict=True)
    ]
    lowered = NotImplemented if lowering is None else lowering(build, node)
    if lowered is NotImplemented:
        _inherit(inherited, ctx, node)
    else:
        build.replace(lowered, shapes)
        build.mark_pairs(name for name, pair in zip(lowered, pairs, strict=True) if pair)


def _inherit(inherited: Inherited, ctx: Any, node: Any) -> None:
    """Convert a node as tf2onnx does it; what it has no handler for stays, to be refused."""
    operator = str(node.type)
    if operator not in inherited:
        return
    function, options = inherited[operator]
    options = dict(options)
    renamed = options.get("onnx_op")
    if renamed:
        options["tf_op"] = operator
        node.type = renamed
    try:
        function(ctx, node, **options, initialized_tables={}, dequantize=False)
    except UnsupportedLowering:
        raise
    except Exception as error:
        refusal = UnsupportedLowering(node, f"tf2onnx cannot write it ({error})")
        refusal.operator = operator
        raise refusal from error
