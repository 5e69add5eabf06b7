"""The server's interface as an OpenAPI document: https://spec.openapis.org/oas/v3.1.0."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from runtimes.serving.protocol.documents import ModelMetadata, TensorMetadata
from runtimes.serving.protocol.openapi_schemas import ref, schemas

_JSON, _BINARY = "application/json", "application/octet-stream"
_LARGEST_EXAMPLE = 1024
_REFUSALS = {
    "400": "The request is malformed.",
    "401": "It needs a token.",
    "403": "Not with this token, or not from a page of another site.",
    "404": "There is no such model or version.",
    "413": "It is larger than this server takes.",
    "429": "The server is overloaded, or heard too many wrong tokens; see Retry-After.",
    "503": "The model does not answer now.",
    "504": "The deadline passed.",
}


@dataclass(frozen=True)
class _Call:
    """One method of a path: its answer's and its body's schema, None for an empty body."""

    summary: str
    answer: str
    body: str | None = None
    refusals: tuple[str, ...] = ("401",)
    open: bool = False
    kind: str = _JSON


_SERVER = {
    "/v2": ("get", _Call("What this server is", "ServerMetadata", open=True)),
    "/v2/health/live": ("get", _Call("Whether it runs", "Live", refusals=(), open=True)),
    "/v2/health/ready": (
        "get",
        _Call("Whether it takes requests", "Ready", refusals=("503",), open=True),
    ),
    "/v2/models/stats": ("get", _Call("What all models have done", "Statistics")),
    "/v2/repository/index": (
        "post",
        _Call(
            "Which models there are", "RepositoryIndex", "RepositoryIndexRequest", ("400", "401")
        ),
    ),
    "/monitor": ("get", _Call("What the monitors have seen", "Monitor")),
}
_CONTROL = {
    f"/v2/repository/models/{{model}}/{action}": (
        "post",
        _Call(f"{action.capitalize()} a model", "Done", "Done", ("400", "401", "404")),
    )
    for action in ("load", "unload")
}
_MODEL = {
    "": ("get", _Call("Inputs and outputs of a model", "ModelMetadata", None, ("401", "404"))),
    "/ready": (
        "get",
        _Call("Whether a model answers", "Ready", None, ("404", "503"), open=True),
    ),
    "/stats": ("get", _Call("What a model has done", "Statistics", None, ("401", "404"))),
    "/feedback": (
        "post",
        _Call("Labels that came later", "Accepted", "Feedback", ("400", "401", "404", "409")),
    ),
    "/come_back": (
        "post",
        _Call("Answer with the compressed model again", "Done", None, ("401", "404", "409")),
    ),
}

_PUSH = ("400", "401", "413", "422", "507")
_PUSHES = {
    "/v2/repository/pushes/{push}": {
        "put": _Call(
            "Begin a push, or go on with it: which parts of a bundle are missing",
            "PushAnswer",
            "PushRecipe",
            _PUSH,
        ),
        "post": _Call(
            "Prove the bundle of a push, whose parts are all there, and serve it",
            "Pushed",
            None,
            (*_PUSH, "404", "409"),
        ),
    },
    "/v2/repository/pushes/{push}/parts/{parts}": {
        "put": _Call(
            "Send parts of a push, one after the other",
            "Done",
            "PushedParts",
            (*_PUSH, "404"),
            kind=_BINARY,
        )
    },
}
_PUSH_PARAMETERS = {
    "push": ("SHA-256 of the recipe.", "^[0-9a-f]{64}$"),
    "parts": (
        "Which parts, ascending: their numbers, and ranges of them, such as 0-3,7. They are "
        "counted from 0, each once, as the files by their names first need them.",
        "^[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*$",
    ),
}


def openapi_document(
    models: Sequence[ModelMetadata], *, title: str, version: str, pushes: bool = False
) -> dict[str, Any]:
    """The OpenAPI document of a server.

    Args:
        models: The models that it serves: each has a path of its own, with an example.
        title: The server's name.
        version: The server's version.
        pushes: Whether it takes bundles that are pushed.
    """
    paths = {path: {method: _operation(call)} for path, (method, call) in _SERVER.items()}
    paths["/metrics"] = {"get": _metrics()}
    for prefix, parameters in _MODEL_PATHS.items():
        for path, (method, call) in _MODEL.items():
            paths[prefix + path] = {**parameters, method: _operation(call)}
        paths[f"{prefix}/infer"] = {**parameters, "post": _infer()}
    for path, (method, call) in _CONTROL.items():
        paths[path] = {**_path_parameters("model"), method: _operation(call)}
    for path, calls in _PUSHES.items() if pushes else ():
        named: Any = [_push_parameter(name) for name in _names_in(path)]
        methods = {method: _operation(call) for method, call in calls.items()}
        paths[path] = {"parameters": named, **methods}
    for model in models:
        paths[f"/v2/models/{quote(model.name, safe='')}/infer"] = {"post": _infer(model)}
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version, "summary": "Open Inference Protocol, v2"},
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        # A server without a token takes requests without one, too.
        "security": [{}, {"token": []}],
    }


def _path_parameters(*names: str) -> dict[str, Any]:
    text = {"type": "string", "minLength": 1}
    found = [{"name": name, "in": "path", "required": True, "schema": text} for name in names]
    return {"parameters": found}


def _names_in(path: str) -> list[str]:
    """The parameters of a path."""
    return [part[1:-1] for part in path.split("/") if part.startswith("{")]


def _push_parameter(name: str) -> dict[str, Any]:
    description, pattern = _PUSH_PARAMETERS[name]
    text = {"type": "string", "pattern": pattern}
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": text,
    }


_MODEL_PATHS = {
    "/v2/models/{model}": _path_parameters("model"),
    "/v2/models/{model}/versions/{version}": _path_parameters("model", "version"),
}


def _operation(call: _Call) -> dict[str, Any]:
    found: dict[str, Any] = {
        "summary": call.summary,
        "responses": {
            "200": _content("The answer.", {_JSON: {"schema": ref(call.answer)}}),
            **_refusals(call.refusals),
        },
    }
    if call.body is not None:
        found["requestBody"] = {"content": {call.kind: {"schema": ref(call.body)}}}
    if call.open:
        found["security"] = []
    return found


def _content(description: str, content: Mapping[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": content}


def _refusals(statuses: Sequence[str]) -> dict[str, Any]:
    """What a call may be refused with; one that needs a token, as all that do."""
    error = {_JSON: {"schema": ref("Error")}}
    known = {
        **_REFUSALS,
        "406": "JSON cannot hold the outputs; ask for binary data.",
        "409": "Not with this model: it is no bundle with a reference, or no push may replace it.",
        "422": "The bundle is refused, and what is served has not changed.",
        "507": "The server cannot keep it.",
    }
    guarded = ("403", "429") if "401" in statuses else ()
    return {status: _content(known[status], error) for status in sorted({*statuses, *guarded})}


def _metrics() -> dict[str, Any]:
    text = {"text/plain": {"schema": {"type": "string"}}}
    return {
        "summary": "Metrics for Prometheus",
        "responses": {"200": _content("The metrics.", text), **_refusals(("401",))},
    }


def _infer(model: ModelMetadata | None = None) -> dict[str, Any]:
    json: dict[str, Any] = {"schema": ref("InferRequest")}
    if model is not None and (example := _example(model)) is not None:
        json["example"] = example
    binary = {"schema": {"type": "string", "format": "binary"}}
    header = {
        "description": "Bytes of JSON before the bytes of tensors, in a binary body.",
        "schema": {"type": "integer", "minimum": 0},
    }
    name = "Inference-Header-Content-Length"
    answer = _content("The outputs.", {_JSON: {"schema": ref("InferResponse")}, _BINARY: binary})
    return {
        "summary": "Run a model" if model is None else f"Run {model.name}",
        "parameters": [{"name": name, "in": "header", "required": False, **header}],
        "requestBody": {"required": True, "content": {_JSON: json, _BINARY: binary}},
        "responses": {
            "200": {**answer, "headers": {name: header}},
            **_refusals((*_REFUSALS, "406")),
        },
    }


def _example(model: ModelMetadata) -> dict[str, Any] | None:
    """A request of zeros for one sample; None for a model whose inputs are too large to print."""
    inputs = [_zeros(each) for each in model.inputs]
    if sum(len(each["data"]) for each in inputs) > _LARGEST_EXAMPLE:
        return None
    return {"inputs": inputs}


def _zeros(of: TensorMetadata) -> dict[str, Any]:
    shape = [max(size, 1) for size in of.shape]
    count = min(math.prod(shape), _LARGEST_EXAMPLE + 1)
    zero: Any = {"BYTES": "", "BOOL": False}.get(of.datatype, 0)
    return {"name": of.name, "datatype": of.datatype, "shape": shape, "data": [zero] * count}
