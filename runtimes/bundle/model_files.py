"""The files of a model: the ONNX file under its name, and the weights that are next to it."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from pathlib import Path

from runtimes.bundle.file_names import is_plain_name
from runtimes.bundle.manifest import FP32, MODEL, RESERVED
from runtimes.bundle.sinks import Content
from runtimes.errors import ModelError
from runtimes.onnx_files.load_save import load_graph, load_model, write_model
from runtimes.onnx_files.streaming import locations_in
from runtimes.protobuf_fields import MalformedMessage


def add_model(
    contents: MutableMapping[str, Content], name: str, path: Path, scratch: Callable[[], Path]
) -> None:
    """Put the model at ``path`` into ``contents`` as ``name``, with its external data.

    The bytes stay those that were proven. Only where its data have names that a bundle cannot hold,
    or that are taken, the model is written anew into the folder that ``scratch`` gives.
    """
    locations = _locations(path)
    if locations:
        load_graph(path)  # which refuses data outside of its folder, or too few of them
    if not all(_is_free(place, path, contents, name) for place in locations):
        folder = scratch()
        write_model(load_model(path), folder / name)
        path, locations = folder / name, _locations(folder / name)
    contents[name] = path
    for place in locations:
        contents[place] = path.parent / place


def _is_free(place: str, path: Path, contents: MutableMapping[str, Content], name: str) -> bool:
    """Whether the file may keep its name: nothing else in the bundle is, or will be, called so."""
    others = {f"{other}.data" for other in (MODEL, FP32) if other != name}
    lower = place.lower()
    if not is_plain_name(place) or lower.split("/")[0] in RESERVED or lower in others:
        return False
    taken = {other.lower(): held for other, held in contents.items()}
    return taken.get(lower) in (None, path.parent / place)


def _locations(path: Path) -> set[str]:
    try:
        return locations_in(path)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from error
    except MalformedMessage as error:
        raise ModelError(f"{path} is not an ONNX model that can be read ({error})") from error
