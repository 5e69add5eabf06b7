"""The graph that a trainable model starts from."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from converter.compression.graph_of import graph_of
from converter.compression.simplify import simplified
from quantizers.training.keras_model import GraphModel
from runtimes.onnx_files.load_save import refuse_nan_weights
from runtimes.onnx_graph.quantized import is_quantized


def trainable_graph(model: Any) -> ir.Model:
    """The graph of ``model``: a Keras model or file, an ONNX file or graph, or a ``GraphModel``.

    Simplified, unless it is quantized already; a Keras model is exported and proven. Raises what
    ``convert`` raises for a Keras model, and ``ModelError`` for a file that is none.
    """
    if isinstance(model, GraphModel):
        return model.graph()
    source = graph_of(model)
    refuse_nan_weights(source)
    return source if is_quantized(source) else simplified(source)[0]
