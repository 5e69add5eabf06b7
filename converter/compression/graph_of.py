"""The graph of a model, wherever it comes from."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from runtimes.atomic_files import scratch_folder
from runtimes.engines.open_runtime import is_keras
from runtimes.onnx_files.load_save import load_model


def graph_of(model: Any) -> ir.Model:
    """The graph of an ONNX file or graph; a Keras model or file is exported and proven.

    Raises what ``convert`` raises for a Keras model, and ``ModelError`` for a file that is none.
    """
    if isinstance(model, ir.Model) or not is_keras(model):
        return load_model(model)
    from converter.export.convert import convert

    with scratch_folder() as folder:
        convert(model, folder / "model.onnx")
        return load_model(folder / "model.onnx")
