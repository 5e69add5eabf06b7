"""An ONNX graph as a Keras model: compiled, fitted, evaluated and saved like any, and back again.

Imported only when ``GraphModel`` is asked for, so Keras may be loaded with the module: a subclass
of ``keras.Model`` needs it at once.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, Self

import onnx_ir as ir

from quantizers.training.form import Form, PlainForm
from quantizers.training.graph import TrainableGraph
from quantizers.training.graph_feed import graph_feed
from quantizers.training.graph_text import graph_from_config, graph_to_config
from runtimes.base import Array
from runtimes.keras_models.load import import_keras
from runtimes.onnx_files.load_save import ModelSource, load_model, save_model

keras = import_keras()


register = keras.saving.register_keras_serializable(package="kilnx")
"""Decorates classes that ``keras.models.load_model`` should know."""


@register
class GraphModel(keras.Model):  # type: ignore[misc, name-defined]
    """A ``keras.Model`` that computes what an ONNX graph does, and trains its weights.

    One initializer is one variable, so that weights that are tied stay tied. Codes behind
    DequantizeLinear are trained as the floats that they stand for, and rounded in every call
    (straight-through gradients). Inputs have ONNX' names, order of axes and shapes: one array, a
    list in the graph's order, or a dict by name. One output comes as it is, several as a dict.

    Args:
        model: An ONNX file or an ``onnx_ir.Model``, which stays as it is.
        name: Of the Keras model; None: that of the graph.

    Raises:
        UnsupportedOperator: The graph has an operator that cannot be differentiated.
        ModelError: The file cannot be read, or nothing in it can be trained.
        RuntimeUnavailable: Keras is not installed, or runs on another backend than TensorFlow.

    Example:
        >>> model = GraphModel("model.onnx")
        >>> model.compile("adam", "mse")
        >>> model.to_onnx("trained.onnx")
    """

    def __init__(self, model: ModelSource, *, name: str | None = None) -> None:
        self._begin(PlainForm(load_model(model)), name, model)

    def _begin(self, form: Form, name: str | None, source: Any = None) -> None:
        """Make the variables of ``form``; ``source`` is never replaced by ``to_onnx``."""
        graph = TrainableGraph(form.model)  # before Keras begins: what cannot be trained is refused
        super().__init__(name=name or _keras_name(form.model.graph.name), dtype="float32")
        self._form, self._computed = form, graph
        self._sources = _paths(source)
        self._variables_by_name = {
            key: self.add_weight(
                shape=start.value.shape,
                dtype=start.value.dtype.name,
                initializer=_constant(start.value),
                trainable=start.trainable,
                name=_keras_name(key),
            )
            for key, start in form.starts().items()
        }
        self.supports_jit = False  # sizes may be known only at run time, and XLA must know them all
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """The outputs of the graph. Training computes what inference does."""
        feed = graph_feed(self._computed.inputs, inputs)
        variables = {
            name: variable.value for name, variable in dict(self._variables_by_name).items()
        }
        read = self._form.read(variables)
        found = self._computed.run(read.values, feed, given=read.given)
        names = [spec.name for spec in self._computed.outputs]
        return found[names[0]] if len(names) == 1 else {name: found[name] for name in names}

    def graph(self) -> ir.Model:
        """The graph with the values that the weights have now: same nodes, same names."""
        return self._form.written(self._arrays())

    def _arrays(self) -> dict[str, Array]:
        variables = dict(self._variables_by_name)
        return {name: one.numpy() for name, one in variables.items()}

    def to_onnx(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Write the graph with the trained values to ``path``.

        Weights that share values are stored as a codebook and a few bits for each place, of which
        ONNX Runtime makes the same graph when it loads the file.

        Args:
            path: The file to write; it appears whole or not at all.
            force: Whether an existing ONNX file is replaced, but never the one this was made from.

        Raises:
            DataError: The file exists, or cannot be written.
        """
        save_model(self._form.stored(self._arrays()), path, force=force, inputs=self._sources)

    def get_config(self) -> dict[str, Any]:
        """The graph without the weights, which are variables, and how it is trained."""
        return {"name": self.name, **graph_to_config(self._form.model), "form": self._settings()}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Any = None) -> Self:
        """A model like the one whose configuration this is, with weights of zero."""
        model = cls.__new__(cls)
        form = cls._form_of(graph_from_config(dict(config)), dict(config["form"]))
        model._begin(form, config["name"])
        return model

    def _settings(self) -> dict[str, Any]:
        """What the form is made from again, besides the graph."""
        return {}

    @classmethod
    def _form_of(cls, model: ir.Model, settings: dict[str, Any]) -> Form:
        return PlainForm(model)


def _paths(source: Any) -> tuple[Any, ...]:
    """What of ``source``, one model or several, is files."""
    several = source if isinstance(source, list | tuple) else [source]
    return tuple(one for one in several if isinstance(one, str | os.PathLike))


def _constant(array: Array) -> Any:
    def values(shape: Any, dtype: Any = None) -> Any:
        return keras.ops.convert_to_tensor(array, dtype=dtype)

    return values


def _keras_name(name: str | None) -> str | None:
    """A name that optimizers can put into TensorFlow's scopes, and without slashes."""
    return re.sub(r"[^A-Za-z0-9_.-]+", ".", name).strip("._-") or "model" if name else None
