"""A model as parts: its large weights by themselves, so that candidates share what they share."""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import onnx_ir as ir

from runtimes.agent.messages import ModelFiles, Part
from runtimes.atomic_files import scratch_folder
from runtimes.errors import ModelError
from runtimes.onnx_files.load_save import ModelSource, load_graph, write_model
from runtimes.onnx_files.streaming import locations_in
from runtimes.protobuf_fields import BYTES, MalformedMessage, fields

# Fields of ModelProto, GraphProto and TensorProto (onnx.proto3).
_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9
# Smaller weights stay with what is around them: a request for each would take longer.
_LARGE = 64 * 2**10
_LONGEST_PART = 16 * 2**20


@dataclass(frozen=True)
class ModelParts:
    """The files of a model, and the bytes of each of their parts."""

    files: ModelFiles
    content: Mapping[str, memoryview]


@contextmanager
def parts_of(model: ModelSource) -> Iterator[ModelParts]:
    """Yield the parts of a graph, or of a file with its external data.

    Raises ``ModelError`` where a file is missing, or is no model.
    """
    if isinstance(model, ir.Model):
        with scratch_folder() as folder:
            path = folder / "model.onnx"
            write_model(model, path)
            yield _parts_of_file(path)
        return
    yield _parts_of_file(Path(model))


def _parts_of_file(path: Path) -> ModelParts:
    content: dict[str, memoryview] = {}
    files: dict[str, tuple[Part, ...]] = {}
    try:
        whole = _mapped(path)
        files[path.name] = _parts(whole, _cuts(whole), content)
        beside = sorted(locations_in(path) - {path.name})
        if beside:
            load_graph(path)  # which refuses data that are not in the model's folder
        for name in beside:
            data = _mapped(path.parent / name)
            files[name] = _parts(data, [], content)
    except FileNotFoundError as error:
        raise ModelError(f"{path}: no such file as {error.filename}") from error
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from error
    except MalformedMessage as error:
        raise ModelError(f"{path} is not an ONNX model that can be read ({error})") from error
    except ValueError as error:
        raise ModelError(f"{path} cannot be sent: {error}") from error
    return ModelParts(ModelFiles(path.name, files), content)


def _mapped(path: Path) -> memoryview:
    if not path.stat().st_size:
        return memoryview(b"")
    with path.open("rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _cuts(message: memoryview) -> list[int]:
    """Where large weights begin and end."""
    cuts: list[int] = []
    for graph_start, graph in _inside(message, 0, _GRAPH):
        for start, tensor in _inside(graph, graph_start, _INITIALIZER):
            for raw_start, raw in _inside(tensor, start, _RAW_DATA):
                if len(raw) >= _LARGE:
                    cuts += [raw_start, raw_start + len(raw)]
    return cuts


def _inside(message: memoryview, offset: int, number: int) -> Iterator[tuple[int, memoryview]]:
    """The messages in a field, with where they begin in the file."""
    for one in fields(message):
        if one.number == number and one.wire_type == BYTES:
            yield offset + one.start, message[one.start : one.stop]


def _parts(data: memoryview, cuts: list[int], content: dict[str, memoryview]) -> tuple[Part, ...]:
    found = []
    places = sorted({0, *cuts, len(data)})
    for start, stop in pairwise(places):
        for begin in range(start, stop, _LONGEST_PART):
            piece = data[begin : min(begin + _LONGEST_PART, stop)]
            digest = hashlib.sha256(piece).hexdigest()
            content[digest] = piece
            found.append(Part(digest, len(piece)))
    return tuple(found)
