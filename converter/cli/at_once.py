"""What can be said of a command line before anything is imported that takes seconds.

TensorFlow alone takes several. A file that is not there, a model that is quantized already, or a
provider, metric or step that does not exist is known from the file system, from the first bytes of
a message's fields and from short lists. Everything is checked again, and more of it, where it is
read.
"""

from __future__ import annotations

import functools
import mmap
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from converter.compression.step_names import refuse_unknown_steps
from runtimes.engines.provider_names import refuse_unknown_provider
from runtimes.errors import DataError, KilnxError, ModelError
from runtimes.metrics.names import refuse_unknown
from runtimes.onnx_graph.quantized import is_quantized_operator, quantized_already
from runtimes.protobuf_fields import BYTES, MalformedMessage, fields
from runtimes.targets.find import refuse_unknown_target

# What each option that names a file to read is called, and what is said where there is none.
_READ: Mapping[str, tuple[type[KilnxError], str]] = {
    **dict.fromkeys(("model", "models", "add", "source"), (ModelError, ": no such file")),
    **dict.fromkeys(("reference", "candidate", "against"), (ModelError, ": no such file")),
    **dict.fromkeys(("data", "evaluate_on"), (DataError, ": no such file or folder")),
    "decisions": (DataError, " cannot be read: No such file or directory"),
    "custom": (DataError, ": no such Python file for --custom"),
    "weights": (ModelError, ": no such file of weights"),
}

_FROM_FLOAT = ("compress", "prune", "quantize")

# Fields of ModelProto, GraphProto and NodeProto (onnx.proto3).
_GRAPH, _NODE, _GRAPH_NAME, _NODE_NAME, _OP_TYPE = 7, 1, 2, 3, 4


def answering_at_once(command: Callable[..., Any]) -> Callable[..., Any]:
    """``command``, whose files and names are looked at before it runs."""

    @functools.wraps(command)
    def call(**options: Any) -> Any:
        refuse_missing(options)
        refuse_unknown_names(options)
        if command.__name__ in _FROM_FLOAT and "quantize" not in (options.get("skip") or []):
            refuse_quantized_file(options["model"])
        return command(**options)

    return call


def refuse_missing(options: Mapping[str, Any]) -> None:
    """Raise for the first option that names a file to read which is not there."""
    for name, (kind, reason) in _READ.items():
        for path in _listed(options.get(name)):
            if isinstance(path, Path) and not path.exists():
                raise kind(f"{path}{reason}")


def refuse_unknown_names(options: Mapping[str, Any]) -> None:
    """Raise for a provider, metric, target or step that does not exist, and for its options."""
    for provider in _listed(options.get("provider")):
        refuse_unknown_provider(provider)
    for engine in _listed(options.get("engines")):
        for name in engine.split(","):
            refuse_unknown_provider(name.strip())
    for metric in _listed(options.get("metric")):
        refuse_unknown(metric)
    for target in _listed(options.get("target")):
        refuse_unknown_target(target)
    refuse_unknown_steps(_listed(options.get("skip")), option="--skip: ")


def _listed(value: Any) -> Iterable[Any]:
    return value if isinstance(value, list) else () if value is None else (value,)


def refuse_quantized_file(path: Path) -> None:
    """Raise ``ModelError`` where the main graph of an ONNX file holds quantized operators."""
    if path.suffix != ".onnx" or not path.is_file() or not path.stat().st_size:
        return
    try:
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        found = _first_quantized(memoryview(mapped))
    except (OSError, MalformedMessage):
        return  # whoever reads the file says what is wrong with it
    if found is not None:
        raise ModelError(quantized_already(*found))


def _first_quantized(message: memoryview) -> tuple[str, str, str] | None:
    """Names of the graph and the node, and the operator, of the first quantized one."""
    for graph in _parts(message, _GRAPH):
        for node in _parts(graph, _NODE):
            operator = _text(node, _OP_TYPE)
            if is_quantized_operator(operator):
                return _text(graph, _GRAPH_NAME), _text(node, _NODE_NAME), operator
    return None


def _parts(message: memoryview, number: int) -> Iterator[memoryview]:
    for field in fields(message):
        if field.number == number and field.wire_type == BYTES:
            yield message[field.start : field.stop]


def _text(message: memoryview, number: int) -> str:
    return next((bytes(part).decode(errors="replace") for part in _parts(message, number)), "")
