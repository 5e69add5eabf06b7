"""Live models of Keras 2 (the package tf_keras), which TensorFlow Hub and transformers make.

Keras 3 cannot call them. They go through a file that this process writes and reads: HDF5, whose
layers are read as those of Keras 3, or else a SavedModel, which needs no code of theirs.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runtimes.errors import ConversionError, KilnxError, ModelError, first_line
from runtimes.keras_models.archive import load_file
from runtimes.keras_models.compiled_loss import note_loss
from runtimes.keras_models.saved_config import read_config
from runtimes.keras_models.saved_model import load_saved_model

PACKAGE = "tf_keras"


def is_live_keras2(model: Any) -> bool:
    """Whether ``model`` is a live model of Keras 2."""
    return any(
        kind.__module__.partition(".")[0] == PACKAGE and kind.__name__ == "Model"
        for kind in type(model).__mro__
    )


def as_keras3(model: Any) -> Any:
    """A model of Keras 3 that computes what ``model`` does, with the same weights.

    Raises ``ConversionError`` for a model that has not been called or built, and can therefore not
    be saved.
    """
    with tempfile.TemporaryDirectory(prefix="kilnx-keras2-") as folder, _no_advice():
        path = Path(folder) / f"{model.name}.h5"
        try:
            model.save(path, include_optimizer=False)
            # The code of its Lambda layers is the caller's own.
            same = load_file(read_config(path), {}, unsafe=True, weights=None)
        except (NotImplementedError, KilnxError):
            same = _through_saved_model(model, Path(folder) / model.name)
    note_loss(same, {"loss": getattr(model, "loss", None)})
    return same


def _through_saved_model(model: Any, path: Path) -> Any:
    """For subclassed models and layers of the user's own."""
    try:
        model.save(path, save_format="tf", include_optimizer=False)
    except (ValueError, AssertionError) as error:
        raise ConversionError(
            f"the Keras 2 model {model.name!r} cannot be saved, so its inputs are unknown: "
            f"{first_line(error)}; call it on a batch first"
        ) from error
    try:
        return load_saved_model(path, unsafe=True)
    except ModelError as error:
        raise ModelError(f"the Keras 2 model {model.name!r}: {error}") from error


@contextmanager
def _no_advice() -> Iterator[None]:
    """Keep back what Keras 2 says about formats and metrics: the file is not the user's."""
    logger = logging.getLogger("tensorflow")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
