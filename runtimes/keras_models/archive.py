"""Build a live model from the configuration and the weights in a Keras file."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runtimes.atomic_files import scratch_folder
from runtimes.errors import ConversionError, KilnxError, ModelError, first_line
from runtimes.keras_models.compiled_loss import note_loss
from runtimes.keras_models.embedded_code import code_in, with_own_functions
from runtimes.keras_models.saved_config import SavedConfig
from runtimes.keras_models.sequential_batch import mark_trained
from runtimes.keras_models.upgrade_keras1 import upgrade_keras1
from runtimes.keras_models.upgrade_keras2 import upgrade
from runtimes.keras_models.weights import load_weights


def load_file(
    saved: SavedConfig, custom_objects: dict[str, Any], unsafe: bool, weights: Path | None
) -> Any:
    """Build the model of ``saved`` with the weights of its file, or those of ``weights``.

    Raises ``ConversionError`` if the user has to supply something, and ``ModelError`` for a file
    that Keras cannot load.
    """
    path = saved.path
    # The optimizer and the loss are not used for inference, and may be custom classes.
    inference = {key: value for key, value in saved.config.items() if key != "compile_config"}
    config, changed = with_own_functions(inference, custom_objects)
    if not unsafe and (code := list(code_in(config))):
        raise ConversionError(_of_code(path, code))
    if saved.container == "json" and weights is None:
        raise ConversionError(
            f"{path} is the configuration of a model, without its weights; give them with "
            "--weights model.h5 (weights='model.h5')"
        )
    try:
        if saved.major == 1:
            config = upgrade_keras1(config, source=str(path))
        if saved.major < 3:
            config, custom_objects = upgrade(
                config, source=str(path), custom_objects=custom_objects, unsafe=unsafe
            )
            changed = True
        if saved.container in ("keras", "folder"):
            with _archive(saved, config if changed else None) as archive:
                model = _load_archive(archive, custom_objects, unsafe)
        else:
            model = _from_config(saved, config, custom_objects, unsafe)
    except KilnxError:
        raise
    except Exception as error:
        raise _explained(saved, error) from error
    if weights is not None or saved.container == "hdf5":
        if not model.built:
            raise ConversionError(
                f"{path} does not record the shape of the model's inputs, so the model has no "
                "variables to load the weights into; add an Input to it and save it again"
            )
        load_weights(model, weights or path)
    if saved.training:
        mark_trained(model)
        note_loss(model, saved.training)
    return model


def _load_archive(archive: Path, custom_objects: dict[str, Any], unsafe: bool) -> Any:
    import keras

    return keras.models.load_model(
        archive, custom_objects=custom_objects, compile=False, safe_mode=not unsafe
    )


def _from_config(
    saved: SavedConfig, config: dict[str, Any], custom_objects: dict[str, Any], unsafe: bool
) -> Any:
    import keras
    from keras.src.legacy.saving import saving_options, saving_utils
    from keras.src.saving import serialization_lib

    if saved.container == "hdf5" and saved.major >= 3:
        # HDF5 files keep the old configuration format, which has no public reader.
        legacy = saving_options.keras_option_scope(use_legacy_config=True)
        known = {**_operations(), **custom_objects}
        with legacy, serialization_lib.SafeModeScope(not unsafe):
            return saving_utils.model_from_config(config, custom_objects=known)
    with serialization_lib.ObjectSharingScope():
        return keras.saving.deserialize_keras_object(
            config, custom_objects=custom_objects, safe_mode=not unsafe
        )


def _operations() -> dict[str, Any]:
    """Keras' operations, such as ``x + 1``, by class name; its HDF5 reader does not know them."""
    import keras

    pending, found = [keras.Operation], {}
    while pending:
        cls = pending.pop()
        pending += cls.__subclasses__()
        if cls.__module__.startswith("keras.src.ops.") and not hasattr(keras.layers, cls.__name__):
            found[cls.__name__] = cls
    return found


@contextmanager
def _archive(saved: SavedConfig, config: dict[str, Any] | None) -> Iterator[Path]:
    """A path that Keras accepts as a ``.keras`` file, with ``config`` instead of its own.

    Keras recognizes its format by the file extension only.
    """
    if config is None and (saved.container == "folder" or saved.path.suffix == ".keras"):
        yield saved.path
        return
    with scratch_folder() as folder:
        alias = folder / "model.keras"
        if config is None:
            alias.symlink_to(saved.path.resolve())
        else:
            _write_archive(saved, config, alias)
        yield alias


def _write_archive(saved: SavedConfig, config: dict[str, Any], target: Path) -> None:
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("config.json", json.dumps(config))
        if saved.container == "folder":
            for part in sorted(p for p in saved.path.rglob("*") if p.is_file()):
                name = part.relative_to(saved.path).as_posix()
                if name != "config.json":
                    archive.write(part, name)
            return
        with zipfile.ZipFile(saved.path) as original:
            for entry in original.infolist():
                if entry.filename == "config.json" or entry.is_dir():
                    continue
                with (
                    original.open(entry) as source,
                    archive.open(entry.filename, "w", force_zip64=True) as copy,
                ):
                    shutil.copyfileobj(source, copy)


def _of_code(path: Path, code: list[str]) -> str:
    own = (
        "supply your own functions with the names of the Lambda layers, with --custom "
        "my_layers.py (custom_objects={'name': function}); or, "
        if any("Lambda layer" in text for text in code)
        else ""
    )
    return (
        f"{path} holds code that loading it would run: {'; '.join(code)}. To load it, {own}if you "
        "trust its source, use --unsafe (unsafe=True)"
    )


def _explained(saved: SavedConfig, error: Exception) -> ConversionError | ModelError:
    """Turn Keras' error for a file that it cannot load into one that says what is missing."""
    path, text = saved.path, str(error)
    if "safe_mode" in text:
        return ConversionError(_of_code(path, [first_line(error)]))
    if "add_slot" in text:
        return ConversionError(
            f"{path} has a TFSMLayer on a SavedModel that was saved with its optimizer, which "
            "Keras 3 cannot load; give the folder of the SavedModel itself, or save it again "
            "with model.save(folder, include_optimizer=False)"
        )
    if (undefined := _within(error, NameError)) is not None:
        return ConversionError(
            f"the code in {path} uses a name that it does not define ({undefined}); supply "
            "your own function with the name of the Lambda layer, with --custom "
            "my_layers.py (custom_objects={'name': function})"
        )
    unknown = re.search(
        r"(?:Could not locate (?:class|function)|Unknown (?:layer|\w+ ?function|object)[^'\"]*)"
        r"[: ]*['\"]([^'\"]+)['\"]",
        text,
    )
    unknown = unknown or re.search(r"Could not interpret activation[^:]*: ([^\s]+)", text)
    if unknown:
        name = unknown.group(1)
        return ConversionError(
            f"{path} uses {name!r}, which Keras does not know; give the Python file that "
            f"defines it with --custom my_layers.py, or custom_objects={{{name!r}: …}}"
            f"{_too_old(saved)}"
        )
    return ModelError(
        f"{path} could not be loaded by Keras: {type(error).__name__}: {first_line(error)}"
        f"{_too_old(saved)}"
    )


def _too_old(saved: SavedConfig) -> str:
    """What to do about a file from a newer Keras, which may use features that this one lacks."""
    import keras

    wrote, reads = (_release(version) for version in (saved.version, keras.__version__))
    if wrote <= reads:
        return ""
    return (
        f"; Keras {saved.version} saved the file and this is Keras {keras.__version__}: "
        f"pip install --upgrade 'keras>={saved.version}'"
    )


def _release(version: str) -> tuple[int, ...]:
    """Major and minor version, which determine the file format; empty for an unknown version."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def _within(error: BaseException | None, kind: type[BaseException]) -> BaseException | None:
    """The first error of this kind among the causes of ``error``; Keras wraps the original."""
    while error is not None and not isinstance(error, kind):
        error = error.__cause__ or error.__context__
    return error
