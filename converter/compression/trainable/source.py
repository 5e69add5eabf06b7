"""The graph that a trainable model starts from."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from converter.compression.simplify import simplified
from quantizers.training.keras_model import GraphModel
from runtimes.atomic_files import scratch_folder
from runtimes.engines.open_runtime import is_keras
from runtimes.onnx_files.load_save import load_model, refuse_nan_weights
from runtimes.onnx_graph.quantized import is_quantized


def trainable_graph(model: Any) -> ir.Model:
    """The graph of ``model``: a Keras model or file, an ONNX file or graph, or a ``GraphModel``.

    Simplified, unless it is quantized already; a Keras model is exported and proven. Raises what
    ``convert`` raises for a Keras model, and ``ModelError`` for a file that is none.
    """
    if isinstance(model, GraphModel):
        return model.graph()
    source = _exported(model) if is_keras(model) else load_model(model)
    refuse_nan_weights(source)
    return source if is_quantized(source) else simplified(source)[0]


def _exported(model: Any) -> ir.Model:
    from converter.export.convert import convert

    with scratch_folder() as folder:
        convert(model, folder / "model.onnx")
        return load_model(folder / "model.onnx")
