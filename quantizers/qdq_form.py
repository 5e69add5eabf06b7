"""Where an engine wants QuantizeLinear and DequantizeLinear to stand.

Engines differ in what their INT8 kernels compute before they round. A pair of QuantizeLinear and
DequantizeLinear in the middle of that costs time in one engine, and is left out by another, which
then computes something else than what was calibrated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import onnx_ir as ir

from runtimes.onnx_graph.values import is_constant, is_op
from runtimes.targets import Int8Engine


@dataclass(frozen=True)
class QdqForm:
    """What one engine makes of Q/DQ.

    ``engine``: where is looked up which operators became INT8 kernels. ``in_kernels``: operators
    on single values that the kernel of a convolution or matrix product in front of them computes
    before it rounds. ``rounds_last``: kernels round only what other INT8 kernels read, and that of
    a convolution adds the other operand of a residual sum before it does. ``symmetric``:
    activations are on grids around zero, written as signed bytes, biases stay in float, and the
    engine itself fuses activations and moves bytes.
    """

    engine: Int8Engine
    in_kernels: frozenset[str] = frozenset()
    rounds_last: bool = False
    symmetric: bool = False

    @property
    def provider(self) -> str:
        """The provider that runs files of this form, and whose clock decides."""
        return "openvino" if self.engine == "openvino" else "cpu"

    def computes_in_kernel(self, node: ir.Node | None) -> bool:
        """Whether the kernel in front of ``node`` computes it, too."""
        if node is None or not is_op(node, *self.in_kernels):
            return False
        return all(is_constant(value) for value in node.inputs[1:] if value is not None)


ONNX_RUNTIME = QdqForm("onnxruntime")

# LeakyRelu and PRelu, say, are post-operations of oneDNN's convolution; see docs/openvino.md.
OPENVINO = QdqForm(
    "openvino",
    frozenset({"Elu", "HardSigmoid", "HardSwish", "LeakyRelu", "PRelu", "Sigmoid", "Tanh"}),
    rounds_last=True,
)

TENSORRT = QdqForm("tensorrt", symmetric=True)

FORMS: Mapping[str, QdqForm] = MappingProxyType(
    {form.engine: form for form in (ONNX_RUNTIME, OPENVINO, TENSORRT)}
)
"""By the engine's name."""
