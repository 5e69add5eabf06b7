"""Layers and functions of Keras 2 that Keras 3 lacks or changed, as Keras 2 computed them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, cast

from runtimes.errors import ConversionError
from runtimes.keras_models.keras2_nodes import TEMPLATE_TENSOR

HARD_SIGMOID = "hard_sigmoid_of_keras_2"
"""Name for Keras 2's ``hard_sigmoid``; Keras 3's function of that name is x / 6 + 0.5.

It must also be the function's ``__name__``: Keras copies a layer by the names of its functions.
"""

# TensorFlow's namespaces without side effects, and such functions of its top level and compat.v1.
_PURE_NAMESPACES = (
    "__operators__",
    "bitwise",
    "image",
    "linalg",
    "math",
    "nn",
    "random",
    "signal",
    "strings",
)
_PURE_FUNCTIONS = """
    abs acos acosh add add_n argmax argmin argsort asin asinh atan atan2 atanh batch_to_space
    boolean_mask broadcast_to cast ceil clip_by_norm clip_by_value complex concat
    convert_to_tensor cos cosh cumsum divide einsum ensure_shape equal exp expand_dims eye fill
    floor gather gather_nd greater greater_equal identity less less_equal linspace logical_and
    logical_not logical_or matmul maximum meshgrid minimum mod multiply negative norm not_equal
    one_hot ones ones_like pad pow range rank realdiv reduce_all reduce_any reduce_logsumexp
    reduce_max reduce_mean reduce_min reduce_prod reduce_std reduce_sum repeat reshape reverse
    reverse_sequence roll round rsqrt searchsorted shape sigmoid sign sin sinh size slice sort
    space_to_batch split sqrt square squeeze stack stop_gradient strided_slice subtract tan tanh
    tensordot tile to_float to_int32 transpose truediv unstack where zeros zeros_like
"""


def replacements() -> dict[str, Any]:
    """Classes and functions by the names that a rewritten Keras 2 model uses.

    Defined inside a function, because Keras is not imported before it is needed.
    """
    import keras
    from keras.src.applications.convnext import LayerScale

    class ThresholdedReLU(keras.layers.Layer):  # type: ignore[misc]
        """``x`` where it is above ``theta``, otherwise zero."""

        def __init__(self, theta: float = 1.0, **options: Any) -> None:
            super().__init__(**options)
            self.theta = float(theta)

        def call(self, inputs: Any) -> Any:
            return keras.ops.where(inputs > self.theta, inputs, keras.ops.zeros_like(inputs))

    class TFOpLambda(keras.layers.Layer):  # type: ignore[misc]
        """A TensorFlow function that Keras 2 turned into a layer automatically."""

        def __init__(self, function: str, **options: Any) -> None:
            super().__init__(**{**options, "autocast": False})
            self.function = tensorflow_function(function)

        def call(self, tensors: Any, template: str) -> Any:
            called = _filled(json.loads(template), tensors)
            return self.function(*called["args"], **called["kwargs"])

    class SlicingOpLambda(TFOpLambda):
        """Indexing of a tensor as a layer."""

        def call(self, tensors: Any, template: str) -> Any:
            called = _filled(json.loads(template), tensors)
            return self.function(*called["args"], _indices(called["kwargs"]["slice_spec"]))

    return {
        HARD_SIGMOID: hard_sigmoid_of_keras_2,
        "LayerScale": LayerScale,
        "RandomHeight": _same(keras, "RandomHeight"),
        "RandomWidth": _same(keras, "RandomWidth"),
        "SlicingOpLambda": SlicingOpLambda,
        "TFOpLambda": TFOpLambda,
        "ThresholdedReLU": ThresholdedReLU,
    }


def usual_names() -> dict[str, Any]:
    """Modules by the names under which code for Keras models usually imports them."""
    import math

    import keras
    import numpy as np
    import tensorflow as tf
    from keras.src.legacy import backend

    return {"K": backend, "keras": keras, "math": math, "np": np, "tf": tf}


def tensorflow_function(name: str) -> Callable[..., Any]:
    """The TensorFlow function called ``name``, such as ``math.add``.

    A file is not trusted: only functions without side effects are allowed. Raises
    ``ConversionError`` for others.
    """
    import tensorflow as tf

    path = name.removeprefix("compat.v1.")
    namespace, _, function = path.rpartition(".")
    pure = namespace in _PURE_NAMESPACES or (not namespace and function in _PURE_FUNCTIONS.split())
    found: Any = tf
    for part in name.split(".") if pure else ():
        found = getattr(found, part, None)
    if not pure or function.startswith("_") or not callable(found):
        raise ConversionError(
            f"the model calls the TensorFlow function tf.{name}, which is not among those that a "
            "file may call; export a SavedModel with the Keras version that saved the file"
        )
    return cast(Callable[..., Any], found)


def _filled(value: Any, tensors: Any) -> Any:
    """A template with its placeholders replaced by the tensors."""
    if isinstance(value, dict):
        if value.keys() == {TEMPLATE_TENSOR}:
            return tensors[value[TEMPLATE_TENSOR]]
        return {key: _filled(part, tensors) for key, part in value.items()}
    return [_filled(part, tensors) for part in value] if isinstance(value, list) else value


def _indices(spec: Any) -> Any:
    """The contents of the brackets of an index expression, from JSON."""
    if isinstance(spec, dict):
        if {"start", "stop", "step"} <= spec.keys():
            return slice(*(_indices(spec[key]) for key in ("start", "stop", "step")))
        if spec.get("class_name") == "__ellipsis__":
            return Ellipsis
    if isinstance(spec, (list, tuple)):
        return tuple(_indices(part) for part in spec)
    return Ellipsis if spec == "..." else spec


def hard_sigmoid_of_keras_2(x: Any) -> Any:
    """Clip(0.2 x + 0.5, 0, 1), which is exactly ONNX's HardSigmoid."""
    from keras import ops

    return ops.clip(0.2 * x + 0.5, 0.0, 1.0)


def _same(keras: Any, class_name: str) -> Any:
    """A layer that does nothing at inference, whatever its options."""

    def call(self: Any, inputs: Any) -> Any:
        return inputs

    def from_config(cls: Any, config: dict[str, Any]) -> Any:
        return cls(**{key: config[key] for key in ("name", "dtype") if key in config})

    members = {"call": call, "from_config": classmethod(from_config)}
    return type(class_name, (keras.layers.Layer,), members)
