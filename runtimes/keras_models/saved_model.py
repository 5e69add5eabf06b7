"""Load SavedModel folders as live Keras models: one signature, called as a layer.

``tf.saved_model.save``, Keras 3's ``model.export``, Keras 2's ``model.save`` and TensorFlow 1
write this format. Keras 3 does not load it as a model; wrapped in one, a SavedModel is exported,
run and judged like any other. https://www.tensorflow.org/guide/saved_model
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from runtimes.errors import ConversionError, DataError, ModelError, first_line
from runtimes.keras_models.compiled_loss import note_loss
from runtimes.keras_models.saved_model_metadata import training_config
from runtimes.keras_models.saved_model_safety import outside_operators

NETWORK_NAME = "kilnx_saved_model"
"""Name of the layer that wraps a SavedModel in the model returned by ``load_saved_model``."""

_FILES = ("saved_model.pb", "saved_model.pbtxt", "saved_model.cpb")
_DEFAULT_SIGNATURE = "serving_default"
_INIT_SIGNATURES = {"__saved_model_init_op", "__saved_model_train_op"}
_SERVING_TAG = "serve"


def is_saved_model(path: str | os.PathLike[str]) -> bool:
    """Whether ``path`` is a folder that holds a SavedModel."""
    return any((Path(path) / name).is_file() for name in _FILES)


def load_saved_model(
    path: str | os.PathLike[str], *, signature_key: str | None = None, unsafe: bool = False
) -> Any:
    """Load one signature of a SavedModel as a Keras model with named inputs and outputs.

    ``signature_key`` chooses the signature; the default is ``serving_default``, or the only one.
    A saved optimizer is left out. Operators that access files, Python or the network are refused
    without ``unsafe``.

    Raises ``ModelError`` for a damaged SavedModel, ``DataError`` for a signature that does not
    exist or if there is no default one, and ``ConversionError`` for operators that are refused.
    """
    path = Path(path)
    meta_graph = _read(path)
    if not unsafe and (outside := outside_operators(meta_graph)):
        raise ConversionError(
            f"{path} reaches outside the model: {', '.join(outside)}. Loading and running it would "
            "allow that. If you trust its source, use --unsafe (unsafe=True)"
        )
    restored = _restore(path, meta_graph)
    key = _choose(path, list(restored.signatures), signature_key)
    function = restored.signatures[key]
    inputs = _inputs(function)
    name = _plain(path.resolve().name) or "saved_model"
    if any(spec.shape.rank is None for spec in inputs.values()):
        # Like a subclassed model, it needs a signature from the user.
        model = _network_class()(restored, function, tuple(inputs), name)
    else:
        network = _network_class()(restored, function, tuple(inputs), NETWORK_NAME)
        model = _functional(network, inputs, name)
    note_loss(model, training_config(path))
    return model


def _read(path: Path) -> Any:
    """The MetaGraphDef to load: the only one, or the one for serving."""
    from tensorflow.python.saved_model import loader_impl

    try:
        meta_graphs = list(loader_impl.parse_saved_model(str(path)).meta_graphs)
    except Exception as error:
        raise ModelError(f"{path} is a damaged SavedModel: {first_line(error)}") from error
    if len(meta_graphs) > 1:
        meta_graphs = [m for m in meta_graphs if set(m.meta_info_def.tags) == {_SERVING_TAG}]
    if len(meta_graphs) != 1:
        raise ModelError(
            f"{path} is a SavedModel without a graph, or with several and none of them for "
            f"serving (tagged {_SERVING_TAG!r}); save it again with one"
        )
    return meta_graphs[0]


def _restore(path: Path, meta_graph: Any) -> Any:
    """Load the objects, functions and weights, without the optimizer."""
    import tensorflow as tf

    if not _is_complete(path, meta_graph):
        raise ModelError(
            f"{path} has no weights: the folder 'variables' is missing next to saved_model.pb; "
            "copy the whole SavedModel folder"
        )
    try:
        with tf.device("/cpu:0"):
            if not meta_graph.HasField("object_graph_def"):
                return _restore_version_1(path, meta_graph)
            return _restore_objects(path, meta_graph)
    except Exception as error:
        raise ModelError(
            f"{path} could not be loaded by TensorFlow: {type(error).__name__}: {first_line(error)}"
        ) from error


def _restore_version_1(path: Path, meta_graph: Any) -> Any:
    import tensorflow as tf

    return tf.saved_model.load(str(path), tags=list(meta_graph.meta_info_def.tags))


def _restore_objects(path: Path, meta_graph: Any) -> Any:
    """``tf.saved_model.load``, with the optimizer removed from the object graph.

    TensorFlow can restore an optimizer only if Keras 2 is installed, and its slot variables would
    take twice the memory of the weights.
    """
    import tensorflow as tf
    from tensorflow.core.protobuf import saved_model_pb2
    from tensorflow.python.checkpoint.checkpoint_options import CheckpointOptions
    from tensorflow.python.saved_model import load

    objects = meta_graph.object_graph_def
    partial = _drop_optimizers(objects.nodes)
    saved_model = saved_model_pb2.SavedModel(meta_graphs=[meta_graph])
    options = tf.saved_model.LoadOptions(allow_partial_checkpoint=partial)
    with tf.init_scope():
        loader = load.Loader(
            objects, saved_model, str(path), CheckpointOptions(), options, filters=None
        )
    return loader.get(0)


def _drop_optimizers(nodes: Any) -> bool:
    """Unlink optimizers from an object graph in place; returns whether there were any."""
    optimizers = {
        index
        for index, node in enumerate(nodes)
        if node.slot_variables or "optimizer" in node.user_object.identifier.lower()
    }
    for node in nodes:
        del node.slot_variables[:]
        kept = [child for child in node.children if child.node_id not in optimizers]
        if len(kept) < len(node.children):
            del node.children[:]
            node.children.extend(kept)
    return bool(optimizers)


def _is_complete(path: Path, meta_graph: Any) -> bool:
    """Whether the checkpoint exists, or is not needed because there are no variables."""
    objects = meta_graph.object_graph_def.nodes
    wanted = any(node.WhichOneof("kind") == "variable" for node in objects)
    return not wanted or (path / "variables" / "variables.index").is_file()


def _choose(path: Path, keys: Iterable[str], wanted: str | None) -> str:
    names = sorted(set(keys) - _INIT_SIGNATURES)
    listed = ", ".join(map(repr, names))
    if not names:
        raise DataError(
            f"{path} has no signatures, so it is not known how to call it; save it with "
            "tf.saved_model.save(module, path, signatures=module.call.get_concrete_function(…)), "
            "or a Keras model with model.export(path)"
        )
    if wanted is not None:
        if wanted not in names:
            raise DataError(f"{path} has no signature {wanted!r}; it has {listed}")
        return wanted
    if _DEFAULT_SIGNATURE in names:
        return _DEFAULT_SIGNATURE
    if len(names) > 1:
        raise DataError(
            f"{path} has several signatures, {listed}, and none is {_DEFAULT_SIGNATURE!r}; "
            "choose one with --signature-key (signature_key='…')"
        )
    return names[0]


def _inputs(function: Any) -> dict[str, Any]:
    """Input names and ``tf.TensorSpec`` of a restored signature, sorted by name.

    A sparse tensor is three inputs, because TensorFlow's signatures hold only dense tensors.
    """
    specs: Mapping[str, Any] = function.structured_input_signature[1]
    return {name: specs[name] for name in sorted(specs)}


def _network_class() -> Any:
    """The class of Keras models that call one restored function.

    Defined inside a function, because Keras is not imported before it is needed.
    """
    import keras

    class SavedModelSignature(keras.Model):  # type: ignore[misc]
        """A restored signature; takes its one input, or a dict of inputs by name."""

        def __init__(self, restored: Any, function: Any, inputs: tuple[str, ...], name: str):
            super().__init__(name=name, trainable=False, dtype="float32", autocast=False)
            self._restored = restored
            self._signature_function = function
            self._signature_inputs = inputs
            for variable in _variables(function):
                # Wraps the TensorFlow variable without copying its values.
                wrapped = keras.Variable(
                    variable,
                    trainable=False,
                    autocast=False,
                    dtype=keras.backend.standardize_dtype(variable.dtype),
                    name=variable.name.split(":")[0].replace("/", "."),
                )
                self._track_variable(wrapped)
            self.input_dim = _vocabulary(function)
            self.built = True

        def call(self, inputs: Any) -> Any:
            feed = inputs if isinstance(inputs, dict) else {self._signature_inputs[0]: inputs}
            return self._signature_function(**feed)

    return SavedModelSignature


def _variables(function: Any) -> list[Any]:
    """The variables that a function reads and Keras has a dtype for, without duplicates."""
    unique = {id(variable): variable for variable in function.graph.variables}
    return [
        variable
        for variable in unique.values()
        if variable.shape.is_fully_defined()
        and (variable.dtype.is_floating or variable.dtype.is_integer or variable.dtype.is_bool)
        and not variable.dtype.is_quantized
    ]


def _vocabulary(function: Any) -> int | None:
    """Rows of the smallest embedding table, found by Keras' name for it: the bound for indices."""
    sizes = [
        int(variable.shape[0])
        for variable in _variables(function)
        if variable.shape.rank == 2 and "embedding" in variable.name
    ]
    return min(sizes, default=None)


def _functional(network: Any, specs: Mapping[str, Any], name: str) -> Any:
    """A functional model that wraps ``network``, so that Keras knows the names of its ends."""
    import keras

    inputs = {
        name: keras.Input(batch_shape=tuple(spec.shape), dtype=spec.dtype.name, name=_plain(name))
        for name, spec in specs.items()
    }
    with warnings.catch_warnings():
        # A name such as "images/x" is valid in TensorFlow and ONNX, but not in Keras.
        warnings.filterwarnings("ignore", message="When providing `inputs` as a dict")
        outputs = network(inputs if len(inputs) > 1 else next(iter(inputs.values())))
        return keras.Model(inputs, outputs, name=name)


def _plain(name: str) -> str:
    return re.sub(r"[^\w.-]", "_", name)
