"""Bring a float graph into the form that a target reads: its opset, and names where it needs them.

Nothing is changed for the default target.
"""

from __future__ import annotations

import onnx_ir as ir

from runtimes.engines.avoid_faults import avoid_faults
from runtimes.errors import KilnxError, ModelError
from runtimes.onnx_graph.opset import convert_opset
from runtimes.onnx_graph.values import unused_name
from runtimes.targets import Target


def fit_to_target(
    model: ir.Model,
    target: Target,
    *,
    int8: bool = False,
    name: str = "the model",
    error: type[KilnxError] = ModelError,
) -> ir.Model:
    """``model`` as ``target`` reads it; the same object where nothing has to change.

    The opset goes no further than it must: up to the oldest whose Q/DQ the target runs if ``int8``
    is to come, and down to the newest that it opens. Raises ``error`` where an operator is outside
    of what the target runs, and ``ModelError`` where ONNX cannot convert the opset.
    """
    if target.is_default:
        return model
    version = model.opset_imports.get("", 1)
    needed = target.oldest_int8_opset if int8 else version
    model = convert_opset(model, min(max(version, needed), target.opset))
    if target.names_outputs:
        name_outputs(model)
    for engine in (target.engine, *target.also):
        avoid_faults(model, engine)
    target.check(model, name=name, error=error)
    return model


def name_outputs(model: ir.Model) -> int:
    """Name the optional outputs that are left out in front of one that is used; how many.

    tract 0.23 aborts the process where an LSTM gives out its last state, but not the sequence.
    """
    named = 0
    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        for output in node.outputs[:-1]:
            if not output.name:
                output.name = unused_name(model.graph, f"{node.name}_unused")
                named += 1
    return named
