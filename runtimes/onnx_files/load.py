"""ONNX files in: nothing in a file is trusted until it was checked.

Each file is checked once, before anything works with it: its structure, names and scopes, the size
of every tensor, attributes, external data, and whether types and shapes go together. What tools
write in ways of their own is brought into one form: nodes in order, free dimensions without a size.
"""

from __future__ import annotations

import math
import os
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx_ir as ir

from runtimes.errors import ModelError, first_line
from runtimes.onnx_files.external_data import (
    check_external_data,
    external_tensors,
    read_external_data,
)
from runtimes.onnx_files.streaming import frame_of
from runtimes.onnx_files.validation import InvalidModel, check_inference, validate

ModelSource = str | os.PathLike[str] | ir.Model
"""A path to an ONNX file, or the graph itself."""


def load_model(source: ModelSource) -> ir.Model:
    """Open an ONNX model; weights in external data are read where one file could hold them.

    The graph is then what it would be without external data: good when the files are gone. The
    weights of larger models stay memory-mapped.

    Args:
        source: The file; an ``onnx_ir.Model`` is given back as it is.

    Returns:
        The graph.

    Raises:
        ModelError: The file is missing, not ONNX or not valid, or its external data are missing,
            truncated or outside its folder.

    Example:
        >>> load_model("model.onnx").graph.outputs[0].name
        'scores'
    """
    if isinstance(source, ir.Model):
        return source
    model = _load(Path(source), ir.load)
    read_external_data(model)
    return model


def load_graph(path: str | os.PathLike[str]) -> ir.Model:
    """Open an ONNX model to look at it: of its large weights only where they are is read.

    They refer to the file itself, so the model is good as long as the file stays. Raises what
    ``load_model`` raises.
    """
    return _load(Path(path), _graph_of)


def load_description(path: str | os.PathLike[str]) -> ir.Model:
    """Open a graph whose weights are elsewhere, at places that mean nothing here."""
    path = Path(path)
    _require_file(path)
    _check_structure(path, _parsed(path, _frame(path)))
    return _normalized(_read(path, ir.load))


def _load(path: Path, read: Callable[..., ir.Model]) -> ir.Model:
    _require_file(path)
    checked = _checked(path)
    model = _read(path, read)
    check_external_data(model, path)
    _correct(model, checked.types)
    return _normalized(model)


def _require_file(path: Path) -> None:
    if not path.exists():
        raise ModelError(f"{path}: no such file")
    if not path.is_file():
        raise ModelError(f"{path} is not a file; give the path of an ONNX model")


State = tuple[int, ...]
"""What changes with a file: where it lies, its size and when it was written."""


@dataclass(frozen=True)
class _Checked:
    """A file that was found valid, with the files of its external data as they were then.

    ``types``: the right types of the values for which it says wrong ones.
    """

    files: Mapping[Path, State | None]
    types: dict[str, Any]

    def holds(self) -> bool:
        return all(_state(path) == state for path, state in self.files.items())


_CHECKED: OrderedDict[Path, _Checked] = OrderedDict()
_MOST_CHECKED = 64


def _checked(path: Path) -> _Checked:
    """Check the file; one that is as it was when it was found valid is not read again."""
    key = path.absolute()
    known = _CHECKED.pop(key, None)
    if known is None or not known.holds():
        known = _check(path)
    _CHECKED[key] = known
    if len(_CHECKED) > _MOST_CHECKED:
        _CHECKED.popitem(last=False)
    return known


def _check(path: Path) -> _Checked:
    files = {path.absolute(): _state(path)}  # as they are before they are read
    proto = _parsed(path, _frame(path))
    _check_structure(path, proto)
    model = _read(path, lambda _, format: ir.from_proto(proto))
    check_external_data(model, path)
    beside = {path.absolute().parent / tensor.location for tensor in external_tensors(model)}
    files.update((each, _state(each)) for each in beside)
    try:
        types = check_inference(proto, lambda tensor: _external_bytes(tensor, path))
    except InvalidModel as error:
        raise ModelError(f"{path} is not a valid ONNX model: {error}") from error
    return _Checked(files, types)


def _state(path: Path) -> State | None:
    try:
        stat = path.stat()
    except OSError:  # gone since it was checked
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _check_structure(path: Path, proto: Any) -> None:
    if not (proto.opset_import and (proto.graph.node or proto.graph.output)):
        raise ModelError(f"{path} is not an ONNX model: it holds no graph")
    try:
        validate(proto)
    except InvalidModel as error:
        raise ModelError(f"{path} is not a valid ONNX model: {error}") from error


def _frame(path: Path) -> bytes:
    try:
        return frame_of(path)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise _unreadable(path, error) from error


def _parsed(path: Path, frame: bytes) -> Any:
    import onnx

    try:
        return onnx.load_model_from_string(frame, format="protobuf")
    except Exception as error:
        raise _unreadable(path, error) from error


def _graph_of(path: Path, format: str) -> ir.Model:
    model: ir.Model = ir.from_proto(_parsed(path, _frame(path)))
    ir.external_data.set_base_dir(model.graph, path.parent)
    return model


def _read(path: Path, read: Callable[..., ir.Model]) -> ir.Model:
    try:
        model: ir.Model = read(path, format="protobuf")
        return model
    except ModelError:
        raise
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> ModelError:
    reason = first_line(error)[:200]
    return ModelError(
        f"{path} is not an ONNX model that can be read ({reason}); "
        "a Keras model is made into one with: kilnx convert"
    )


def _external_bytes(tensor: Any, path: Path) -> bytes | None:
    """The bytes of a small tensor in external data, which were found to be there."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    size = math.ceil(math.prod(tensor.dims) * ir.DataType(tensor.data_type).bitwidth / 8)
    try:
        with (path.parent / entries["location"]).open("rb") as file:
            file.seek(int(entries.get("offset", 0)))
            raw = file.read(size)
    except OSError:
        return None
    return raw if len(raw) == size else None


def _normalized(model: ir.Model) -> ir.Model:
    """One form for what files say in several ways."""
    imports = model.graph.opset_imports
    if "ai.onnx" in imports:
        imports[""] = imports.pop("ai.onnx")
    for graph in model.graphs():
        if not _is_sorted(graph):
            graph.sort()
        for value in (
            *graph.inputs,
            *graph.initializers.values(),
            *(output for node in graph for output in node.outputs),
        ):
            _free_dimensions(value)
    return model


def _correct(model: ir.Model, types: Mapping[str, Any]) -> None:
    """Give values the types that they have, where the file says others that they cannot have.

    Tools that edit a graph leave such ones behind; what reads the file finds shapes anew.
    """
    graph = model.graph
    made = (output for node in graph for output in node.outputs)
    for value in (*graph.inputs, *graph.initializers.values(), *made) if types else ():
        right = types.get(value.name or "")
        if right is not None:
            value.type = ir.serde.deserialize_type_proto_for_type(right)
            value.shape = ir.serde.deserialize_type_proto_for_shape(right)


def _is_sorted(graph: ir.Graph) -> bool:
    made: set[ir.Node] = set()
    for node in graph:
        for value in node.inputs:
            maker = None if value is None else value.producer()
            if maker is not None and maker.graph is graph and maker not in made:
                return False
        made.add(node)
    return True


def _free_dimensions(value: ir.Value) -> None:
    """Some tools write −1 for a dimension that is free."""
    if value.shape is None or not any(isinstance(dim, int) and dim < 0 for dim in value.shape):
        return
    value.shape = ir.Shape(
        [None if isinstance(dim, int) and dim < 0 else dim for dim in value.shape]
    )
