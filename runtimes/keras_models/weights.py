"""Load weights from HDF5 into a live Keras model, by the names of its layers.

Keras 3 loads them by the order of the layers, so two layers of the same shape can be silently
swapped. https://docs.hdfgroup.org/hdf5/v1_14/
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from runtimes.atomic_files import scratch_folder
from runtimes.base import Array
from runtimes.errors import ConversionError, ModelError, first_line
from runtimes.keras_models.legacy_weights import Conversion, conversion


def load_weights(model: Any, path: Path) -> None:
    """Load a file of weights, or those in a model file, into ``model``.

    ``path``: HDF5 from any version of Keras, ``.weights.h5`` or ``.keras``. Raises
    ``ConversionError``, which names the layer, if the weights do not fit the model, and
    ``ModelError`` for a file without weights.
    """
    import h5py

    if not path.is_file():
        raise ModelError(f"{path}: no such file of weights")
    if not h5py.is_hdf5(path):
        _load_by_keras(model, path, ".keras")
        return
    try:
        with h5py.File(path, "r") as file:
            group = _weight_group(file)
            if group is not None:
                _load_layers(group, model, path)
    except OSError as error:
        raise ModelError(f"{path} is a truncated or damaged HDF5 file: {error}") from error
    except (KeyError, ValueError) as error:
        raise ModelError(f"{path} is not a file of weights that can be read: {error}") from error
    if group is None:
        _load_by_keras(model, path, ".weights.h5")


def _load_by_keras(model: Any, path: Path, ending: str) -> None:
    """Load with Keras itself, which recognizes these formats by the file extension only."""
    with scratch_folder() as folder:
        alias = folder / f"model{ending}"
        alias.symlink_to(path.resolve())
        try:
            model.load_weights(alias)
        except Exception as error:
            raise ConversionError(
                f"the weights in {path} do not fit the model {model.name!r}: "
                f"{first_line(error)}; give the configuration that they were saved with"
            ) from error


def _weight_group(file: Any) -> Any:
    """The group that lists its layers, found in model files and in files of Keras 1 and 2."""
    from keras.src.saving.saving_lib import safe_get_h5_group

    if _names(file, "layer_names") is not None:
        return file
    if "model_weights" not in file.keys():  # noqa: SIM118  # the other way follows links
        return None
    group = safe_get_h5_group(file, "model_weights")
    return group if _names(group, "layer_names") is not None else None


def _load_layers(group: Any, model: Any, path: Path) -> None:
    from keras.src.saving.saving_lib import safe_get_h5_group

    saved: dict[str, tuple[list[str], list[Array]]] = {}
    for name in _names(group, "layer_names") or []:
        layer_group = safe_get_h5_group(group, name)
        names = _names(layer_group, "weight_names") or []
        if names:
            saved[name] = names, [_read(layer_group, weight) for weight in names]
    layers = {layer.name: layer for layer in model.layers if layer.weights}
    by_name = {name.replace("/", "_"): name for name in saved}
    if by_name.keys() == layers.keys():
        pairs = [(layer, by_name[name]) for name, layer in layers.items()]
    elif len(saved) == len(layers):
        pairs = list(zip(layers.values(), saved, strict=True))
    else:
        missing = sorted(layers.keys() - by_name.keys()) or sorted(by_name.keys() - layers.keys())
        raise ConversionError(
            f"the weights in {path} do not fit the model {model.name!r}: it has {len(layers)} "
            f"layers with weights and the file {len(saved)} (look at {missing[0]!r}); give the "
            "configuration that they were saved with"
        )
    convert = conversion(_major(group), _attribute(group, "backend"))
    for layer, name in pairs:
        names, arrays = saved[name]
        _assign(layer, names, arrays, convert, path)
    _load_top_level(group, model, path)


def _load_top_level(group: Any, model: Any, path: Path) -> None:
    """Load weights that belong to no layer, which a subclassed model may have."""
    from keras.src.saving.saving_lib import safe_get_h5_group

    if "top_level_model_weights" not in group:
        return
    own_group = safe_get_h5_group(group, "top_level_model_weights")
    names = _names(own_group, "weight_names") or []
    in_layers = {id(weight) for layer in model.layers for weight in layer.weights}
    own = [weight for weight in model.weights if id(weight) not in in_layers]
    _assign_all(own, [_read(own_group, name) for name in names], model.name, path)


def _assign(
    layer: Any, names: Sequence[str], arrays: list[Array], convert: Conversion, path: Path
) -> None:
    """Load ``arrays`` into a layer, or into the layers inside it if their names identify them."""
    inner = list(getattr(layer, "layers", []))
    if inner and len(names) == len(arrays):
        shares = _shares(inner, names)
        if shares is not None:
            for part, positions in zip(inner, shares, strict=True):
                own_names = [names[position] for position in positions]
                own_arrays = [arrays[position] for position in positions]
                _assign(part, own_names, own_arrays, convert, path)
            return
    if arrays:
        arrays = convert(layer, arrays)
    # In each layer, Keras saves the trainable weights first.
    _assign_all(layer.trainable_weights + layer.non_trainable_weights, arrays, layer.name, path)


def _shares(layers: Sequence[Any], names: Sequence[str]) -> list[list[int]] | None:
    """Which weights belong to which layer, if their names and counts determine it."""
    owners = {layer.name: index for index, layer in enumerate(layers)}
    shares: list[list[int]] = [[] for _ in layers]
    for position, name in enumerate(names):
        parts = [part for part in name.split("/")[:-1] if part in owners]
        if not parts:
            return None
        shares[owners[parts[0]]].append(position)
    fits = all(
        len(share) == len(layer.weights) for share, layer in zip(shares, layers, strict=True)
    )
    return shares if fits else None


def _assign_all(variables: Sequence[Any], arrays: Sequence[Array], owner: str, path: Path) -> None:
    found, wanted = [a.shape for a in arrays], [tuple(v.shape) for v in variables]
    if found != wanted:
        raise ConversionError(
            f"the weights in {path} do not fit the layer {owner!r}: it has the shapes {wanted}, "
            f"and the file has {found}; give the configuration that they were saved with"
        )
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)


def _major(group: Any) -> int:
    """Major version of the Keras that saved the weights; Keras 1 did not record it."""
    version = _attribute(group, "keras_version") or "1"
    return int(version.partition(".")[0])


def _attribute(group: Any, name: str) -> str | None:
    value = group.attrs.get(name)
    return value.decode("utf-8") if isinstance(value, bytes) else value


def _names(group: Any, attribute: str) -> list[str] | None:
    """A list of names, which Keras splits if it is longer than HDF5 allows."""
    attributes = group.attrs
    if attribute in attributes:
        return _decoded(attributes[attribute])
    chunks: list[str] = []
    index = 0
    while f"{attribute}{index}" in attributes:
        chunks += _decoded(attributes[f"{attribute}{index}"])
        index += 1
    return chunks if index else None


def _decoded(values: Iterable[Any]) -> list[str]:
    return [value.decode("utf-8") if isinstance(value, bytes) else str(value) for value in values]


def _read(group: Any, name: str) -> Array:
    """A dataset stored in the file itself: no external link, no decompression bomb."""
    from keras.src.saving.saving_lib import safe_get_h5_dataset

    return np.asarray(safe_get_h5_dataset(group, name))
