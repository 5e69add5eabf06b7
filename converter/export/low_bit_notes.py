"""Notes about a model whose weights stay in low precision, and the opset that it needs."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from converter.export.opsets import DEFAULT_OPSET
from converter.export.proof.expectations import Expectation
from converter.export.proof.prove import FLOAT32_MATMUL, feed_of
from converter.lowering.low_bit.dequantize import INT4_OPSET
from converter.lowering.low_bit.weights import has_int4
from runtimes.engines.ort import OrtRuntime

# Smaller differences can also come from ordinary rounding.
_WORTH_SAYING = 5e-4


def preferred_opset(model: Any) -> int:
    """The default opset for a Keras model."""
    return INT4_OPSET if has_int4(model) else DEFAULT_OPSET


def low_bit_notes(
    path: str | os.PathLike[str],
    model: Any,
    graph: ir.Model,
    expected: Sequence[Expectation],
    *,
    images: Collection[str],
) -> tuple[str, ...]:
    """Notes for the report of a model with weights in 4 or 8 bits; none for other models.

    ``path`` is the file of ``graph``; it is run again with ONNX Runtime's default options.
    """
    notes = []
    version = graph.opset_imports[""]
    if has_int4(model):
        notes.append(
            f"the weights that are int4 in Keras are INT4 in the file, which needs opset "
            f"{INT4_OPSET} and ONNX Runtime 1.20"
            if version >= INT4_OPSET
            else f"the weights that are int4 in Keras are INT8 in the file: opset {version} has no "
            f"INT4, which needs opset {INT4_OPSET}"
        )
    if not any(node.op_type == "DequantizeLinear" for node in graph.graph):
        return tuple(notes)
    moved = _moved(path, graph, expected, images)
    if moved > _WORTH_SAYING:
        ((option, value),) = FLOAT32_MATMUL.items()
        notes.append(
            "ONNX Runtime rounds activations to int8 before it multiplies them by low-bit weights, "
            f"which changes an output by up to {moved:.1%} of its largest "
            f"value; with the session option {option}={value} it multiplies in float32, which is "
            "how the file was compared with Keras"
        )
    return tuple(notes)


def _moved(
    path: str | os.PathLike[str],
    graph: ir.Model,
    expected: Sequence[Expectation],
    images: Collection[str],
) -> float:
    """Largest difference between Keras and a default session, relative to each output."""
    found = [0.0]
    names = [str(value.name) for value in graph.graph.outputs]
    with OrtRuntime(path) as runtime:
        for run in expected:
            actual = runtime.run(feed_of(run, images))
            for name, reference in zip(names, run.outputs, strict=False):  # no states
                if reference.dtype.kind != "f" or not reference.size:
                    continue
                scale = max(float(np.abs(reference).max()), 1e-30)
                found.append(float(np.abs(reference - actual[name]).max()) / scale)
    return max(found)
