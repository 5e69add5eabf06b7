"""``SharedModel``: weights that share values, and models that share weights.

Imported only when it is asked for, as is all that subclasses ``keras.Model``.
"""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from converter.compression.trainable.joined import join
from converter.compression.trainable.source import trainable_graph
from quantizers.training.form import Form, PlainForm
from quantizers.training.keras_model import GraphModel, register
from quantizers.training.shared_form import MOST_CLUSTERS, SharedForm
from runtimes.errors import DataError

_CLUSTERS = 16


@register
class SharedModel(GraphModel):
    """A Keras model whose weights hold few values each, which are trained (Deep Compression).

    Several models become one: weights that are equal in them are one variable, what they compute
    alike is computed once, inputs of one name are one input, and each keeps its outputs. So a
    backbone under several heads is trained by all of them, and ``to_onnx`` writes one file.

    Args:
        model: A Keras model or file, an ONNX file, an ``onnx_ir.Model`` or a ``GraphModel``; or a
            list of such.
        clusters: How many values a weight holds, 2 to 256; 0: any number. None: 16 for one model,
            any number for several.
        name: Of the Keras model; None: that of the graph.

    Raises:
        DataError: ``clusters`` is out of range, or no models were given.
        ModelError: A file cannot be read, or inputs of one name differ.
        UnsupportedOperator: An operator cannot be exported or trained.
        RuntimeUnavailable: Keras is not installed, or runs on another backend than TensorFlow.

    Example:
        >>> model = SharedModel("model.onnx", clusters=16)
        >>> model.compile("adam", "mse")
    """

    def __init__(self, model: Any, *, clusters: int | None = None, name: str | None = None) -> None:
        several = isinstance(model, list | tuple)
        if clusters is None:
            clusters = 0 if several else _CLUSTERS
        if clusters and not 2 <= clusters <= MOST_CLUSTERS:
            raise DataError(f"clusters is {clusters}; give a number from 2 to {MOST_CLUSTERS}")
        graphs = [trainable_graph(one) for one in (model if several else [model])]
        graph = join(graphs) if several else graphs[0]
        self._begin(self._form_of(graph, {"clusters": clusters}), name, model)

    def _settings(self) -> dict[str, Any]:
        form = self._form
        return {"clusters": form.clusters if isinstance(form, SharedForm) else 0}

    @classmethod
    def _form_of(cls, model: ir.Model, settings: dict[str, Any]) -> Form:
        clusters = settings["clusters"]
        return SharedForm(model, clusters) if clusters else PlainForm(model)
