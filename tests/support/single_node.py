"""Models of one node, run by the reference evaluator and by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from runtimes.engines.ort import OrtRuntime
from runtimes.engines.reference import ReferenceRuntime

Array = np.ndarray[Any, np.dtype[Any]]


def single_node(
    op_type: str,
    arrays: Sequence[Array | None],
    attributes: dict[str, Any],
    outputs: Sequence[str | None] = ("y",),
    *,
    opset: int = 18,
    domain: str = "",
) -> ir.Model:
    """A model of one node whose first input is fed; the others are weights, or left out."""
    values = [_value(f"i{place}", array) for place, array in enumerate(arrays)]
    node = ir.Node(
        domain,
        op_type,
        values,
        ir.convenience.convert_attributes(attributes),
        outputs=[ir.Value(name=name or "") for name in outputs],
        name="node",
    )
    assert values[0] is not None
    values[0].const_value = None
    values[0].shape = ir.Shape([f"d{axis}" for axis in range(len(values[0].shape or ()))])
    graph = ir.Graph(
        [values[0]],
        [value for value in node.outputs if value.name],
        nodes=[node],
        initializers=[value for value in values[1:] if value is not None],
        opset_imports={"": opset, **({domain: 1} if domain else {})},
        name="single",
    )
    return ir.Model(graph, ir_version=8)


def on_both(model: ir.Model, x: Array) -> tuple[list[Array], list[Array]]:
    """The outputs of the reference evaluator and of ONNX Runtime, not optimized."""
    with (
        ReferenceRuntime(model) as ours,
        OrtRuntime(model, threads=1, optimization="disabled") as theirs,
    ):
        return list(ours.run({"i0": x}).values()), list(theirs.run({"i0": x}).values())


def _value(name: str, array: Array | None) -> ir.Value | None:
    if array is None:
        return None
    tensor = ir.tensor(array, name=name)
    return ir.Value(
        name=name,
        type=ir.TensorType(tensor.dtype),
        shape=ir.Shape(array.shape),
        const_value=tensor,
    )
