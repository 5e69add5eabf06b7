"""What every lowering of a TensorFlow operator stands on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from converter.lowering.builder import Builder

_COMPLEX = (14, 15)  # complex64 and complex128


OperatorLowering = Callable[[Builder, Any], Sequence[str]]


class UnsupportedLowering(Exception):
    """An operator cannot be written as it is used; the message says why.

    ``node`` is its name and ``operator`` its type, for the export to name the layer.
    """

    def __init__(self, node: Any, reason: str) -> None:
        super().__init__(reason)
        self.node = str(node.name)
        self.operator = str(node.type)


def handler_of(lowering: OperatorLowering) -> tuple[Callable[..., None], list[Any]]:
    """tf2onnx's form of a lowering."""

    def handler(ctx: Any, node: Any, _name: str, _args: Any) -> None:
        build = Builder(ctx, node)
        outputs = list(node.output)
        # Complex tensors are real ones of another shape, see converter.lowering.operators.fourier.
        shapes = [
            None if build.dtype(output) in _COMPLEX else build.shape(output) for output in outputs
        ]
        build.replace(lowering(build, node), shapes)

    return handler, []
