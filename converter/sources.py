"""From what a user has to a live Keras model and the signature that it is exported with."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from runtimes.errors import DataError
from runtimes.keras_files import KerasSource, import_keras, load_keras_model
from runtimes.keras_signature import KerasSignature, keras_signature

SignatureSpec = Mapping[str, tuple[Sequence[int | None], str]]
"""Input name → (shape with ``None`` for a dynamic dimension, dtype name)."""


def load_source(
    source: KerasSource,
    *,
    signature: SignatureSpec | None = None,
    custom_objects: Mapping[str, Any] | None = None,
    unsafe: bool = False,
) -> tuple[Any, KerasSignature]:
    """Return the live model and its signature.

    ``signature`` is for models that do not know their inputs (unbuilt or subclassed), or to fix
    dimensions that are dynamic in the model. Raises what ``load_keras_model`` does, and
    ``DataError`` for a signature that does not fit the model's own.
    """
    model = load_keras_model(source, custom_objects=custom_objects, unsafe=unsafe)
    if signature is None:
        return model, keras_signature(model)
    return model, given_signature(model, signature)


def parse_signature(text: str) -> tuple[str, tuple[tuple[int | None, ...], str]]:
    """Parse ``name=1,224,224,3:float32``; ``?`` or a word stands for a dynamic dimension."""
    match = re.fullmatch(r"([^=]+)=([^:]*)(?::(\w+))?", text.strip())
    if not match:
        raise DataError(
            f"--signature {text!r} does not read as name=1,224,224,3:float32 "
            "(? for a dynamic dimension)"
        )
    name, dims, dtype = match.group(1), match.group(2), match.group(3) or "float32"
    shape = tuple(
        int(dim) if dim.strip().isdigit() else None for dim in dims.split(",") if dim.strip()
    )
    return name, (shape, dtype)


def given_signature(model: Any, signature: SignatureSpec) -> KerasSignature:
    """The signature that the user states, in the structure that the model wants."""
    keras = import_keras()
    tensors = {
        name: keras.KerasTensor(tuple(shape), dtype=dtype, name=name)
        for name, (shape, dtype) in signature.items()
    }
    try:
        own: KerasSignature | None = keras_signature(model)
    except Exception:
        own = None
    if own is not None:
        names = [spec.name for spec in own.inputs]
        if set(names) != set(tensors):
            raise DataError(
                f"the signature names {sorted(tensors)}, and the model's inputs are {own}"
            )
        for spec in own.inputs:
            if not spec.accepts(tensors[spec.name].shape):
                raise DataError(
                    f"the signature gives {spec.name} the shape {tensors[spec.name].shape}, "
                    f"which does not fit the model's {spec}"
                )
        structure = keras.tree.pack_sequence_as(own.structure, [tensors[n] for n in names])
        declared = own.declared_outputs
    else:
        structure = next(iter(tensors.values())) if len(tensors) == 1 else dict(tensors)
        declared = ()
    return KerasSignature.of(structure, declared)
