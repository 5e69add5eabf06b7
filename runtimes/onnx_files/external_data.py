"""Weights in files next to a model: that they are in its folder, and are all there.

https://onnx.ai/onnx/repo-docs/ExternalData.html
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx_ir as ir

from runtimes.errors import ModelError
from runtimes.onnx_files.tensor_bytes import weight_bytes

ONE_FILE_BYTES = 1_800_000_000
"""Most weights that go into one file. A protobuf message cannot exceed 2 GiB; below that, one
self-contained file is kinder. What fits into one file is read into memory, more stays mapped."""

# A page of memory: mapping less saves nothing.
_SMALL_BYTES = 4096


def external_tensors(model: ir.Model) -> Iterator[ir.ExternalTensor]:
    """Yield the tensors of a model that lie in other files, those inside nodes too."""
    for graph in (*model.graphs(), *model.functions.values()):
        for value in getattr(graph, "initializers", {}).values():
            if isinstance(value.const_value, ir.ExternalTensor):
                yield value.const_value
        for node in graph:
            for attribute in node.attributes.values():
                if attribute.is_ref():
                    continue
                held = (attribute.value,)
                if attribute.type == ir.AttributeType.TENSORS:
                    held = tuple(attribute.value)
                yield from (tensor for tensor in held if isinstance(tensor, ir.ExternalTensor))


def check_external_data(model: ir.Model, path: Path) -> None:
    """Raise ``ModelError`` unless all external data of the model at ``path`` can be read.

    No absolute path, no ``..``, no link that leads out of the model's folder; offsets and lengths
    are inside the files, and as the shapes need them.
    """

    @cache
    def size_of(location: str) -> int:
        return _size(location, path)

    for tensor in external_tensors(model):
        where = f"{path}: the weights of {tensor.name!r}"
        try:
            size = size_of(str(tensor.location))
        except ModelError as error:
            raise ModelError(f"{where} {error}") from error
        _check_range(tensor, size, where)


def _size(location: str, model_path: Path) -> int:
    """Size in bytes of a file with external data; ``ModelError`` says what is wrong with it."""
    pure = PurePosixPath(location)
    if pure.is_absolute() or PureWindowsPath(location).is_absolute() or ".." in pure.parts:
        raise ModelError(f"point outside the model's folder ({location!r}); refused")
    folder = model_path.parent.resolve()
    target = folder / pure
    try:
        inside = target.resolve().is_relative_to(folder)
        found = target.is_file()
    except (OSError, ValueError, RuntimeError) as error:  # a name that no file can have, or a loop
        raise ModelError(f"are in {location!r}, which cannot be read: {error}") from error
    if not inside:
        raise ModelError("lead through a link out of the model's folder; refused")
    if not found:
        raise ModelError(f"are missing: there is no file {location!r} next to the model")
    return target.stat().st_size


def _check_range(tensor: ir.ExternalTensor, size: int, where: str) -> None:
    offset, length = tensor.offset or 0, tensor.length
    if any(not isinstance(dim, int) or dim < 0 for dim in tensor.shape):
        raise ModelError(f"{where} have no valid shape")
    needed = math.ceil(math.prod(tensor.shape.numpy()) * tensor.dtype.bitwidth / 8)
    if length is not None and length != needed:
        raise ModelError(f"{where} should be {needed} bytes by their shape, but say {length}")
    if offset < 0 or offset + needed > size:
        raise ModelError(
            f"{where} are truncated: {str(tensor.location)!r} holds {size} bytes, "
            f"{offset + needed} are needed; copy the file again"
        )


def read_external_data(model: ir.Model) -> None:
    """Take external weights into memory: all of them, or the small ones of a large model.

    The graph is then good when the files are gone. Small tensors that are mapped could not be
    written again while an array of them is in use.
    """
    fits = weight_bytes(model) <= ONE_FILE_BYTES
    read = {
        id(tensor): _in_memory(tensor)
        for tensor in list(external_tensors(model))
        if fits or tensor.nbytes <= _SMALL_BYTES
    }
    for graph in model.graphs():
        for value in graph.initializers.values():
            value.const_value = read.get(id(value.const_value), value.const_value)
        for node in graph:
            for name, attribute in list(node.attributes.items()):
                if not attribute.is_ref() and id(attribute.value) in read:
                    node.attributes[name] = ir.AttrTensor(name, read[id(attribute.value)])


def _in_memory(tensor: ir.ExternalTensor) -> ir.TensorProtocol:
    array = tensor.numpy().copy()
    return ir.Tensor(array, dtype=tensor.dtype, shape=tensor.shape, name=tensor.name)
