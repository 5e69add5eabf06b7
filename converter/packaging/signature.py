"""What a model takes and gives, as the systems that serve it ask for it."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from runtimes.base import TensorSpec
from runtimes.errors import DataError
from runtimes.onnx_files.external_data import external_tensors
from runtimes.onnx_files.load import load_description
from runtimes.onnx_files.load_save import model_inputs, model_outputs


@dataclass(frozen=True)
class Signature:
    """Inputs and outputs of an ONNX file, and the files that hold its weights.

    Attributes:
        inputs: What a caller must feed, in order.
        outputs: What comes back, in order.
        opsets: Version of every operator set, by domain.
        weights: Names of the files next to the model that hold its weights.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    opsets: dict[str, int]
    weights: tuple[str, ...]

    @cached_property
    def is_batched(self) -> bool:
        """Whether samples stack along the first axis of every input and output.

        All first dimensions are free and the same one, which is no other axis as well: a matrix of
        similarities, sample by sample, cannot be cut into the answers of single requests.
        """
        shapes = [spec.shape for spec in (*self.inputs, *self.outputs)]
        if any(not shape or isinstance(shape[0], int) for shape in shapes):
            return False
        batch = {shape[0] for shape in shapes if shape}
        others = {dim for shape in shapes if shape for dim in shape[1:]}
        return len(batch) == 1 and (batch == {None} or not batch & others)


def read_signature(model: Path) -> Signature:
    """The signature of the ONNX file ``model``.

    Raises:
        DataError: An input or output has no known rank, so that no configuration can state it.
    """
    description = load_description(model)
    inputs, outputs = model_inputs(description), model_outputs(description)
    for spec in (*inputs, *outputs):
        if spec.shape is None:
            raise DataError(
                f"{model.name}: the rank of {spec.name!r} is not known, and a configuration states "
                "it; export the model with the shape of this tensor"
            )
    files = {str(tensor.location) for tensor in external_tensors(description)}
    return Signature(inputs, outputs, dict(description.opset_imports), tuple(sorted(files)))


def copy_model(model: Path, folder: Path, signature: Signature) -> None:
    """Copy the ONNX file and the files of its weights into ``folder``, which is made."""
    folder.mkdir(parents=True)
    for name in (model.name, *signature.weights):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(model.parent / name, target)


def warmup_sample(
    warmup: Path | None, inputs: Sequence[TensorSpec]
) -> dict[str, np.ndarray] | None:
    """One run's arrays by input, from a bundle's warm-up file; None where it does not fit.

    A free first dimension is 1.
    """
    if warmup is None:
        return None
    try:
        with warmup.open("rb") as file, np.load(file, allow_pickle=False) as held:
            sample = {one.name: _first(held[one.name], one) for one in inputs if one.name in held}
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{warmup.name} of the bundle cannot be read: {error}") from error
    fits = all(spec.name in sample and spec.accepts(sample[spec.name].shape) for spec in inputs)
    return sample if fits else None


def _first(array: np.ndarray, spec: TensorSpec) -> np.ndarray:
    count = spec.shape[0] if spec.shape and isinstance(spec.shape[0], int) else 1
    return array[:count] if spec.shape else array
