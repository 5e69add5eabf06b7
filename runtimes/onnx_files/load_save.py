"""ONNX files in and out: untrusted when read (``load``), whole or absent when written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from runtimes.atomic_files import atomic_file
from runtimes.base import TensorSpec
from runtimes.errors import ModelError
from runtimes.onnx_files.external_data import ONE_FILE_BYTES, external_tensors
from runtimes.onnx_files.load import ModelSource, load_description, load_graph, load_model
from runtimes.onnx_files.streaming import locations_in, write_single_file, write_with_data
from runtimes.onnx_files.tensor_bytes import weight_bytes
from runtimes.protobuf_fields import MalformedMessage

__all__ = [
    "ModelSource",
    "file_bytes",
    "load_description",
    "load_graph",
    "load_model",
    "model_bytes",
    "model_inputs",
    "model_outputs",
    "refuse_nan_weights",
    "save_model",
    "weight_bytes",
    "write_model",
]

_EXTERNAL_ABOVE_BYTES = ONE_FILE_BYTES


def save_model(
    model: ir.Model,
    path: str | os.PathLike[str],
    *,
    force: bool = False,
    inputs: Sequence[Any] = (),
) -> None:
    """Write ``model`` so that the file appears whole or not at all.

    Args:
        model: The graph. Weights beyond what one protobuf file holds go to ``<name>.data``, next
            to the file.
        path: The file to write.
        force: Whether an existing file is replaced: an ONNX model that is not one of ``inputs``,
            nor data that ``model`` needs.
        inputs: Paths that are never replaced, see ``refuse_existing``.

    Raises:
        DataError: The file exists, or cannot be written.

    Example:
        >>> save_model(load_model("model.onnx"), "copy.onnx")
    """
    needed = [tensor.path for tensor in external_tensors(model)]
    with atomic_file(path, force=force, inputs=(*inputs, *needed)) as work:
        write_model(model, work)


def write_model(model: ir.Model, path: str | os.PathLike[str]) -> None:
    """Write ``model`` to ``path`` as it is, for callers that make the output atomic themselves."""
    path = Path(path)
    if weight_bytes(model) > _EXTERNAL_ABOVE_BYTES:
        write_with_data(model, path, f"{path.name}.data")
    else:
        write_single_file(model, path)


def file_bytes(path: str | os.PathLike[str]) -> int:
    """Size of an ONNX file together with its external data, bytes.

    Raises ``ModelError`` where one of the files is missing or the first is no model.
    """
    path = Path(path)
    try:
        files = {path.name, *locations_in(path)}
        return sum((path.parent / name).stat().st_size for name in files)
    except FileNotFoundError as error:
        raise ModelError(f"{path}: no such file as {error.filename}") from error
    except MalformedMessage as error:
        raise ModelError(f"{path} is not an ONNX model that can be read ({error})") from error


def refuse_nan_weights(model: ir.Model, name: str = "the model") -> None:
    """Raise ``ModelError`` naming the first initializer that holds NaN, subgraphs included.

    Infinities pass: masks use them. Weights in external data are read through, not kept.
    """
    for graph in model.graphs():
        for key, value in graph.initializers.items():
            tensor = value.const_value
            if tensor is None or not tensor.dtype.is_floating_point():
                continue
            bad = np.isnan(tensor.numpy())
            if bad.any():
                place = [int(i) for i in np.unravel_index(int(bad.argmax()), bad.shape)]
                users = [f"{node.name!r} ({node.op_type})" for node in value.consumers()]
                raise ModelError(
                    f"{name}: the weights {key!r} hold NaN at {place}"
                    + (f", used by node {users[0]}" if users else "")
                    + "; training has diverged, take an earlier checkpoint"
                )


def model_bytes(model: ir.Model) -> int:
    """Size of the file that ``save_model`` would write, external data included, bytes."""
    stripped = sum(
        value.const_value.nbytes
        for graph in model.graphs()
        for value in graph.initializers.values()
        if isinstance(value.const_value, ir.ExternalTensor)
    )
    return int(ir.to_proto(model).ByteSize()) + stripped


def model_inputs(model: ir.Model) -> tuple[TensorSpec, ...]:
    """The inputs that a caller must feed, in order: those without an initializer."""
    return tuple(
        _spec(value) for value in model.graph.inputs if value.name not in model.graph.initializers
    )


def optional_inputs(model: ir.Model) -> tuple[TensorSpec, ...]:
    """The inputs that a caller may leave out, in order: those with an initializer."""
    return tuple(
        _spec(value) for value in model.graph.inputs if value.name in model.graph.initializers
    )


def model_outputs(model: ir.Model) -> tuple[TensorSpec, ...]:
    """The outputs, in order."""
    return tuple(_spec(value) for value in model.graph.outputs)


def _spec(value: ir.Value) -> TensorSpec:
    dtype = value.dtype.numpy() if value.dtype is not None else np.dtype(object)
    shape: tuple[int | str | None, ...] | None = None
    if value.shape is not None:
        shape = tuple(
            (d if d >= 0 else None) if isinstance(d, int) else d.value for d in value.shape
        )
    return TensorSpec(str(value.name), np.dtype(dtype), shape)
