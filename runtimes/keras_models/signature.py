"""The interface of a Keras model: the names of its ONNX file's inputs and outputs.

Shared by the export, which writes these names into the file, and the Keras runtime, which uses the
same names, so that a Keras model and its ONNX file can be fed the same arrays.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from runtimes.base import TensorSpec
from runtimes.errors import ConversionError
from runtimes.keras_models.sequential_batch import chosen_by_data

_SPATIAL = {3: ("length",), 4: ("height", "width"), 5: ("depth", "height", "width")}


@dataclass(frozen=True)
class KerasSignature:
    """Flat inputs in Keras' order, and the structure that ``model.call`` expects.

    With ``keywords``, the structure is a dict whose entries are arguments of ``call``; otherwise it
    is the first argument. ``note`` tells the user where the shapes come from, if it matters.
    """

    inputs: tuple[TensorSpec, ...]
    structure: Any
    declared_outputs: tuple[str, ...] = ()
    keywords: bool = False
    note: str | None = None

    @property
    def is_dynamic(self) -> bool:
        """Whether a dimension other than the batch has no fixed size."""
        sizes = (dim for spec in self.inputs for dim in (spec.shape or ())[1:])
        return any(not isinstance(size, int) for size in sizes)

    @classmethod
    def of(
        cls,
        structure: Any,
        declared_outputs: tuple[str, ...] = (),
        *,
        keywords: bool = False,
        note: str | None = None,
    ) -> KerasSignature:
        """From a structure of KerasTensors; inputs are named after dict keys, or else tensors."""
        import keras

        paths = keras.tree.flatten_with_path(structure)
        names = unique_names(
            [
                next((key for key in reversed(path) if isinstance(key, str)), None) or tensor.name
                for path, tensor in paths
            ]
        )
        shapes = [tuple(tensor.shape) for _, tensor in paths]
        several = sum(None in shape[1:] for shape in shapes) > 1
        inputs = tuple(
            TensorSpec(
                name,
                _numpy_dtype(tensor.dtype),
                named_dims(tensor.shape, prefix=f"{_identifier(name)}_" if several else ""),
            )
            for name, (_, tensor) in zip(names, paths, strict=True)
        )
        return cls(inputs, structure, declared_outputs, keywords, note)

    def call(self, model: Any, tensors: Sequence[Any]) -> Any:
        """Call ``model`` on flat ``tensors`` in inference mode."""
        packed = self.pack(tensors)
        if self.keywords:
            return model(**packed, training=False)
        return model(packed, training=False)

    def pack(self, tensors: Sequence[Any]) -> Any:
        """Arrange flat tensors as the model's first argument."""
        import keras

        return keras.tree.pack_sequence_as(self.structure, list(tensors))

    def output_names(self, outputs: Any) -> tuple[str, ...]:
        """Names for the flattened ``outputs`` of one call, unique among all names.

        These are the dict keys if the model returns a dict, or else the names of the output
        layers, or else ``output``, ``output_1``, …
        """
        import keras

        paths = [path for path, _ in keras.tree.flatten_with_path(outputs)]
        if paths and all(any(isinstance(key, str) for key in path) for path in paths):
            names = ["/".join(str(key) for key in path) for path in paths]
        elif len(self.declared_outputs) == len(paths):
            names = list(self.declared_outputs)
        else:
            names = ["output"] * len(paths)
        return unique_names(names, taken={spec.name for spec in self.inputs})

    def __str__(self) -> str:
        return "(" + ", ".join(str(spec) for spec in self.inputs) + ")"


@dataclass(frozen=True)
class LiveModel:
    """A Keras model in memory, and its signature."""

    model: Any
    signature: KerasSignature


def keras_signature(model: Any) -> KerasSignature:
    """Read the signature of a built Keras model.

    A dynamic batch is called ``batch``, and other dynamic dimensions ``length``, ``height``,
    ``width``, … by rank. A subclassed model knows only the shapes of its first call: its batch is
    assumed to be dynamic, the other dimensions to be fixed, and ``note`` says so. Raises
    ``ConversionError`` for a model that does not record its inputs.
    """
    structure, note = _input_structure(model)
    if structure is None and (recorded := _recorded_call(model)) is not None:
        return recorded
    if structure is None:
        raise ConversionError(
            f"the model {model.name!r} does not know the shape of its inputs; give it: "
            "--signature name=1,224,224,3:float32 (signature={'name': (shape, dtype)})"
        )
    declared = tuple(getattr(model, "output_names", None) or _last_layer(model))
    return KerasSignature.of(structure, declared, note=note)


def named_dims(shape: Sequence[int | None], prefix: str = "") -> tuple[int | str | None, ...]:
    """Name the dynamic dimensions of an input by their position, batch first.

    ``prefix`` is put before all names but the batch, if several inputs have dynamic dimensions.
    """
    spatial = _SPATIAL.get(len(shape), ())
    names = ["batch", *spatial, *(f"dim_{i}" for i in range(len(spatial) + 1, len(shape)))]
    return tuple(
        (name if axis == 0 else f"{prefix}{name}") if dim is None else int(dim)
        for axis, (dim, name) in enumerate(zip(shape, names, strict=False))
    )


def dimension_role(name: str) -> str:
    """``length`` of ``left_length``: what a dimension is, without the prefix of its input."""
    return re.sub(r"^.*_(?=[a-z]+$|dim_\d+$)", "", name)


def _identifier(text: str) -> str:
    return re.sub(r"\W", "_", text)


def unique_names(
    names: Sequence[str], taken: set[str] | frozenset[str] = frozenset()
) -> tuple[str, ...]:
    """Make names unique with suffixes ``_1``, ``_2``, …, and different from those in ``taken``."""
    seen = set(taken)
    result = []
    for name in names:
        candidate, count = name, 0
        while candidate in seen:
            count += 1
            candidate = f"{name}_{count}"
        seen.add(candidate)
        result.append(candidate)
    return tuple(result)


def _input_structure(model: Any) -> tuple[Any, str | None]:
    """The structure of KerasTensors that the model was built on, or ``None``, and a note on it."""
    import keras

    if not isinstance(model, keras.Sequential):
        # Unchanged, even a list of one: Keras warns about any structure but the model's own.
        return getattr(model, "_inputs_struct", None), None
    inputs = model.inputs if model.built else None
    if not inputs or not chosen_by_data(model):
        return (inputs[0] if inputs else None), None
    batch, *shape = inputs[0].shape
    free = keras.KerasTensor((None, *shape), dtype=inputs[0].dtype, name=inputs[0].name)
    return free, (
        f"the batch size is dynamic: {batch} is only that of the data that {model.name!r} was "
        "built on; give a signature to fix it"
    )


def _recorded_call(model: Any) -> KerasSignature | None:
    """The shapes that a subclassed model was first called with or built with."""
    import keras

    recorded = getattr(model, "_build_shapes_dict", None)
    if not recorded or not model.built:
        return None

    def tensors(name: str, shapes: Any) -> Any:
        if isinstance(shapes, dict):
            return {key: tensors(str(key), value) for key, value in shapes.items()}
        if all(dim is None or isinstance(dim, int) for dim in shapes):
            return keras.KerasTensor((None, *shapes[1:]), dtype=model.input_dtype, name=name)
        return [tensors(f"{name}_{index}", shape) for index, shape in enumerate(shapes)]

    arguments = {
        key.removesuffix("_shape"): tensors(key.removesuffix("_shape"), shapes)
        for key, shapes in recorded.items()
    }
    note = (
        f"{model.name!r} is a subclassed model: its input shapes are those of its first call; "
        "give a signature for others, or for dynamic ones"
    )
    keywords = len(arguments) > 1
    structure = arguments if keywords else next(iter(arguments.values()))
    return KerasSignature.of(structure, keywords=keywords, note=note)


def _last_layer(model: Any) -> list[str]:
    layers = getattr(model, "layers", [])
    return [re.sub(r"[^\w./-]", "_", layers[-1].name)] if layers else []


def _numpy_dtype(name: str) -> np.dtype[Any]:
    import ml_dtypes

    if name == "string":
        return np.dtype(object)
    return np.dtype(getattr(ml_dtypes, name) if hasattr(ml_dtypes, name) else name)
