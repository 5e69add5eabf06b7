"""Load what the user has as a live Keras model, with the signature for its export."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from converter.export.models_without_call import refuse_without_call
from runtimes.errors import ConversionError, DataError, RuntimeUnavailable, first_line
from runtimes.extras import missing_extra
from runtimes.keras_models.load import KerasSource, import_keras, load_keras_model
from runtimes.keras_models.signature import KerasSignature, keras_signature

SignatureSpec = Mapping[str, tuple[Sequence[int | None], str]]
"""Maps input names to (shape with ``None`` for a dynamic dimension, dtype name)."""


def load_source(
    source: KerasSource,
    *,
    signature: SignatureSpec | None = None,
    custom_objects: Mapping[str, Any] | None = None,
    unsafe: bool = False,
    signature_key: str | None = None,
    weights: str | os.PathLike[str] | None = None,
) -> tuple[Any, KerasSignature]:
    """Return the live model and its signature.

    ``signature`` is for models that do not record their inputs (unbuilt or subclassed), or to fix
    dimensions that are dynamic in the model. Raises whatever ``load_keras_model`` does,
    ``RuntimeUnavailable`` if tf2onnx, which the export needs, is missing, and ``DataError`` for a
    signature that does not fit the model's own.
    """
    _require_tf2onnx()
    model = load_keras_model(
        source,
        custom_objects=custom_objects,
        unsafe=unsafe,
        signature_key=signature_key,
        weights=weights,
    )
    refuse_without_call(model)
    if signature is None:
        return model, keras_signature(model)
    return model, given_signature(model, signature)


def _require_tf2onnx() -> None:
    """Report, before anything is loaded, that tf2onnx is missing, if it is the only one."""
    import_keras()
    if find_spec("tf2onnx") is None:
        raise RuntimeUnavailable(missing_extra("tf2onnx", "keras", "the export needs it"))


def parse_signature(text: str) -> tuple[str, tuple[tuple[int | None, ...], str]]:
    """Parse ``name=1,224,224,3:float32``; ``?`` or a word stands for a dynamic dimension."""
    match = re.fullmatch(r"([^=]+)=([^:]*)(?::(\w+))?", text.strip())
    if not match:
        raise DataError(
            f"--signature {text!r} is not of the form name=1,224,224,3:float32 "
            "(? for a dynamic dimension)"
        )
    name, dims, dtype = match.group(1), match.group(2), match.group(3) or "float32"
    shape = tuple(
        int(dim) if dim.strip().isdigit() else None for dim in dims.split(",") if dim.strip()
    )
    return name, (shape, dtype)


def given_signature(model: Any, signature: SignatureSpec) -> KerasSignature:
    """The user's signature, in the structure that the model expects."""
    keras = import_keras()
    tensors = {
        name: keras.KerasTensor(tuple(shape), dtype=dtype, name=name)
        for name, (shape, dtype) in signature.items()
    }
    own = _own_signature(model)
    if own is None:
        parameters = inspect.signature(model.call).parameters
        keywords = len(tensors) > 1 and set(tensors) <= set(parameters)
        single = len(tensors) == 1
        structure = next(iter(tensors.values())) if single else dict(tensors)
        stated = KerasSignature.of(structure, keywords=keywords)
    else:
        fitted = _fitted(own, tensors, bound=_knows_its_shapes(model, own))
        structure = keras.tree.pack_sequence_as(own.structure, fitted)
        stated = KerasSignature.of(structure, own.declared_outputs, keywords=own.keywords)
    _build(model, stated)
    return stated


def _own_signature(model: Any) -> KerasSignature | None:
    """The model's own signature, unless it is subclassed and not bound to any shape."""
    try:
        own = keras_signature(model)
    except ConversionError:
        return None
    return own if own.keywords or _knows_its_shapes(model, own) else None


def _knows_its_shapes(model: Any, own: KerasSignature) -> bool:
    """Whether the shapes are certain; a subclassed model only knows those of its first call."""
    return own.note is None or isinstance(model, import_keras().Sequential)


def _fitted(own: KerasSignature, tensors: Mapping[str, Any], *, bound: bool) -> list[Any]:
    """The given tensors in the order of the model's inputs, if they fit its shapes."""
    if len(own.inputs) == len(tensors) == 1:
        tensors = {own.inputs[0].name: next(iter(tensors.values()))}
    names = [spec.name for spec in own.inputs]
    if set(names) != set(tensors):
        raise DataError(f"the signature names {sorted(tensors)}, but the model's inputs are {own}")
    for spec in own.inputs:
        stated = tensors[spec.name]
        rank = 0 if spec.shape is None else len(spec.shape)
        fits = spec.shape is None or (
            len(stated.shape) == rank
            and all(
                not isinstance(want, int) or want == have
                for want, have in zip(spec.shape, stated.shape, strict=True)
            )
        )
        if not fits and bound:
            raise DataError(
                f"the signature gives {spec.name} the shape {tuple(stated.shape)}, which does "
                f"not fit the model's {spec}"
            )
    return [tensors[name] for name in names]


def _build(model: Any, signature: KerasSignature) -> None:
    """Create the variables of a model that was never called, with symbolic tensors."""
    keras = import_keras()
    if model.built and not isinstance(model, keras.Sequential):
        return
    try:
        signature.call(model, keras.tree.flatten(signature.structure))
    except Exception as error:
        raise ConversionError(
            f"the model {model.name!r} cannot be called on the signature {signature}: "
            f"{type(error).__name__}: {first_line(error)}"
        ) from error
