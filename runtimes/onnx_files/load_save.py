"""ONNX files in and out: untrusted when read, whole or absent when written.

What is checked before anything is allocated: that the file is ONNX, that its external data
lies inside its own folder (no absolute path, no ``..``, no link that leads outside), and that
every tensor's bytes are really there. https://onnx.ai/onnx/repo-docs/ExternalData.html
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import onnx_ir as ir

from runtimes.atomic_files import atomic_file
from runtimes.base import TensorSpec
from runtimes.errors import ModelError, first_line
from runtimes.onnx_files.streaming import frame_of, locations_in, write_single_file
from runtimes.protobuf_fields import MalformedMessage

ModelSource = str | os.PathLike[str] | ir.Model
"""A path to an ONNX file, or the graph itself."""

# A protobuf message cannot exceed 2 GiB; below that, one self-contained file is kinder.
_EXTERNAL_ABOVE_BYTES = 1_800_000_000
# A page of memory: mapping less saves nothing.
_SMALL_BYTES = 4096


def load_model(source: ModelSource) -> ir.Model:
    """Open an ONNX model; weights in external data are read where one file could hold them.

    The graph is then what it would be without external data: good when the files are gone. The
    weights of larger models stay memory-mapped.

    Args:
        source: The file; an ``onnx_ir.Model`` is given back as it is.

    Returns:
        The graph.

    Raises:
        ModelError: The file is missing or not ONNX, or its external data are missing, truncated
            or outside its folder.

    Example:
        >>> load_model("model.onnx").graph.outputs[0].name
        'scores'
    """
    if isinstance(source, ir.Model):
        return source
    model = _load(Path(source), ir.load)
    _read_external(model)
    return model


def load_graph(path: str | os.PathLike[str]) -> ir.Model:
    """Open an ONNX model to look at it: of its large weights only where they are is read.

    They refer to the file itself, so the model is good as long as the file stays. Raises what
    ``load_model`` raises.
    """
    return _load(Path(path), _graph_of)


def _graph_of(path: Path, format: str) -> ir.Model:
    import onnx

    model = ir.from_proto(onnx.load_model_from_string(frame_of(path), format=format))
    ir.external_data.set_base_dir(model.graph, path.parent)
    return model


def _load(path: Path, read: Callable[..., ir.Model]) -> ir.Model:
    if not path.exists():
        raise ModelError(f"{path}: no such file")
    if not path.is_file():
        raise ModelError(f"{path} is not a file; give the path of an ONNX model")
    try:
        model = read(path, format="protobuf")
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:
        raise ModelError(
            f"{path} is not an ONNX model that can be read ({first_line(error)}); "
            "a Keras model is made into one with: kilnx convert"
        ) from error
    if not model.opset_imports or not (len(model.graph) or model.graph.outputs):
        raise ModelError(f"{path} is not an ONNX model: it holds no graph")
    for tensor in _external_tensors(model):
        _check_external(tensor, path)
    return model


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
    needed = [tensor.path for tensor in _external_tensors(model)]
    with atomic_file(path, force=force, inputs=(*inputs, *needed)) as work:
        write_model(model, work)


def write_model(model: ir.Model, path: str | os.PathLike[str]) -> None:
    """Write ``model`` to ``path`` as it is, for callers that make the output atomic themselves."""
    path = Path(path)
    if weight_bytes(model) > _EXTERNAL_ABOVE_BYTES:
        ir.save(model, path, format="protobuf", external_data=f"{path.name}.data", alignment=65536)
    else:
        write_single_file(model, path)


def weight_bytes(model: ir.Model) -> int:
    """Bytes of all initializers, subgraphs included; a tensor that is stored once counts once."""
    return sum(
        value.const_value.nbytes
        for graph in model.graphs()
        for value in graph.initializers.values()
        if value.const_value is not None
    )


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


def model_outputs(model: ir.Model) -> tuple[TensorSpec, ...]:
    """The outputs, in order."""
    return tuple(_spec(value) for value in model.graph.outputs)


def _spec(value: ir.Value) -> TensorSpec:
    dtype = value.dtype.numpy() if value.dtype is not None else np.dtype(object)
    shape: tuple[int | str | None, ...] | None = None
    if value.shape is not None:
        shape = tuple(d if isinstance(d, int) else d.value for d in value.shape)
    return TensorSpec(str(value.name), np.dtype(dtype), shape)


def _read_external(model: ir.Model) -> None:
    """Take external weights into memory: all of them, or the small ones where they are too many.

    Small ones that are mapped could not be written again while an array of them is in use.
    """
    everything = weight_bytes(model) <= _EXTERNAL_ABOVE_BYTES
    mapped = list(_external_tensors(model))
    read = {
        id(tensor): _in_memory(tensor)
        for tensor in mapped
        if everything or tensor.nbytes <= _SMALL_BYTES
    }
    for graph in model.graphs():
        for value in graph.initializers.values():
            value.const_value = read.get(id(value.const_value), value.const_value)
        for node in graph:
            for name, attribute in list(node.attributes.items()):
                if id(attribute.value) in read:
                    node.attributes[name] = ir.AttrTensor(name, read[id(attribute.value)])


def _in_memory(tensor: ir.ExternalTensor) -> ir.TensorProtocol:
    array = tensor.numpy().copy()
    return ir.Tensor(array, dtype=tensor.dtype, shape=tensor.shape, name=tensor.name)


def _external_tensors(model: ir.Model) -> Iterator[ir.ExternalTensor]:
    for graph in model.graphs():
        for value in graph.initializers.values():
            if isinstance(value.const_value, ir.ExternalTensor):
                yield value.const_value
        for node in graph:
            for attribute in node.attributes.values():
                if attribute.type == ir.AttributeType.TENSOR and isinstance(
                    attribute.value, ir.ExternalTensor
                ):
                    yield attribute.value


def _check_external(tensor: ir.ExternalTensor, model_path: Path) -> None:
    location = str(tensor.location)
    where = f"{model_path}: the weights of {tensor.name!r}"
    pure = PurePosixPath(location)
    if pure.is_absolute() or PureWindowsPath(location).is_absolute() or ".." in pure.parts:
        raise ModelError(f"{where} point outside the model's folder ({location!r}); refused")
    folder = model_path.parent.resolve()
    target = folder / pure
    if not target.resolve().is_relative_to(folder):
        raise ModelError(f"{where} lead through a link out of the model's folder; refused")
    if not target.is_file():
        raise ModelError(f"{where} are missing: there is no file {location!r} beside the model")
    offset, length = tensor.offset or 0, tensor.length
    if any(not isinstance(dim, int) or dim < 0 for dim in tensor.shape):
        raise ModelError(f"{where} have no valid shape")
    needed = math.ceil(math.prod(tensor.shape.numpy()) * tensor.dtype.itemsize)
    if length is not None and length != needed:
        raise ModelError(f"{where} should be {needed} bytes by their shape, but say {length}")
    if offset < 0 or offset + needed > target.stat().st_size:
        raise ModelError(
            f"{where} are truncated: {location!r} holds {target.stat().st_size} bytes, "
            f"{offset + needed} are needed; copy the file again"
        )
