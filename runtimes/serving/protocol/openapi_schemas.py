"""The JSON Schemas of what clients send and are answered."""

from __future__ import annotations

from typing import Any

import msgspec

from runtimes.serving.protocol.datatypes import NUMPY
from runtimes.serving.protocol.documents import (
    IndexEntry,
    ModelMetadata,
    ModelStatistics,
    ServerMetadata,
)

_TEXT = {"type": "string"}
_SHAPE = {"type": "array", "items": {"type": "integer", "minimum": 0}}
_PREFIX = "#/components/schemas/"


def ref(name: str) -> dict[str, str]:
    """A reference to a schema of this document."""
    return {"$ref": f"{_PREFIX}{name}"}


def schemas() -> dict[str, Any]:
    """All of them, by name."""
    documents = (ServerMetadata, ModelMetadata, IndexEntry, ModelStatistics)
    _, told = msgspec.json.schema_components(documents, ref_template=f"{_PREFIX}{{name}}")
    return {**told, **_WRITTEN}


def _object(required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {**required, **optional},
        "required": list(required),
    }


def _list_of(name: str) -> dict[str, Any]:
    return {"type": "array", "items": ref(name)}


_TENSOR = {
    "name": _TEXT,
    "datatype": {"type": "string", "enum": list(NUMPY)},
    "shape": _SHAPE,
}
_WRITTEN: dict[str, Any] = {
    "Error": _object({"error": _TEXT}),
    "Parameters": {
        "type": "object",
        "additionalProperties": {"type": ["boolean", "number", "string"]},
    },
    "TensorData": {
        "type": "array",
        "description": "The elements, row-major, flat or nested as the shape is; null is NaN.",
        "items": {
            "anyOf": [{"type": ["number", "string", "boolean", "null"]}, ref("TensorData")],
        },
    },
    "InputTensor": _object(_TENSOR, parameters=ref("Parameters"), data=ref("TensorData")),
    "OutputTensor": _object(_TENSOR, parameters=ref("Parameters"), data=ref("TensorData")),
    "RequestedOutput": _object({"name": _TEXT}, parameters=ref("Parameters")),
    "InferRequest": _object(
        {"inputs": _list_of("InputTensor")},
        id=_TEXT,
        outputs=_list_of("RequestedOutput"),
        parameters=ref("Parameters"),
    ),
    "InferResponse": _object(
        {"model_name": _TEXT, "outputs": _list_of("OutputTensor")},
        model_version=_TEXT,
        id=_TEXT,
        parameters=ref("Parameters"),
    ),
    "Live": _object({"live": {"type": "boolean"}}),
    "Ready": _object({"ready": {"type": "boolean"}}, name=_TEXT),
    "RepositoryIndex": _list_of("IndexEntry"),
    "RepositoryIndexRequest": _object({}, ready={"type": "boolean"}),
    "Statistics": _object({"model_stats": _list_of("ModelStatistics")}),
    "Label": _object({"id": _TEXT, "label": {}}),
    "Feedback": {
        "anyOf": [ref("Label"), _object({"feedback": _list_of("Label")})],
    },
    "Accepted": _object({"accepted": {"type": "integer", "minimum": 0}}),
    "Monitor": _object({"models": {"type": "object"}}),
    "Done": {"type": "object"},
    "PushRecipe": _object(
        {
            "files": {
                "type": "object",
                "description": "For each file of the bundle, the SHA-256 of its parts, in "
                "hexadecimal digits and one after the other, and the sizes of the parts in bytes.",
                "minProperties": 1,
                "additionalProperties": {
                    "type": "array",
                    "prefixItems": [
                        {"type": "string", "pattern": "^([0-9a-f]{64})*$"},
                        _SHAPE,
                    ],
                    "minItems": 2,
                    "maxItems": 2,
                },
            }
        }
    ),
    "PushPlan": _object(
        {
            "missing": {
                "type": "string",
                "description": "The numbers of the parts to send, such as 0-3,7; empty: none.",
            },
            "most": {
                "type": "integer",
                "description": "Bytes that one request may carry.",
                "minimum": 0,
            },
        }
    ),
    "Pushed": _object(
        {"name": _TEXT, "version": _TEXT, "digest": _TEXT},
    ),
    "PushAnswer": {"anyOf": [ref("PushPlan"), ref("Pushed")]},
    "PushedParts": {"type": "string", "format": "binary"},
}
