"""The OpenAPI document: valid in itself, and true of what is read and written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("orjson")
pytest.importorskip("jsonschema")

import jsonschema

from runtimes.serving.protocol.documents import (
    IndexEntry,
    ModelMetadata,
    ModelStatistics,
    ServerMetadata,
    TensorMetadata,
    document,
    index_document,
    statistics_document,
)
from runtimes.serving.protocol.errors import ProtocolError
from runtimes.serving.protocol.limits import ProtocolLimits
from runtimes.serving.protocol.messages import InferRequest, InferResponse, Tensor
from runtimes.serving.protocol.openapi import openapi_document
from runtimes.serving.protocol.parse import parse_infer
from runtimes.serving.protocol.write import write_error, write_infer

pytestmark = pytest.mark.fast
DIGITS = ModelMetadata(
    "digits/é",
    ("1", "2"),
    "onnx",
    (TensorMetadata("image", "FP32", (-1, 8, 8, 1)), TensorMetadata("text", "BYTES", (-1,))),
    (TensorMetadata("probabilities", "FP32", (-1, 10)),),
)
LARGE = ModelMetadata("large", ("1",), "onnx", (TensorMetadata("x", "FP32", (1, 10**9)),), ())
DOCUMENT = json.loads(
    json.dumps(openapi_document([DIGITS, LARGE], title="kilnx", version="1", pushes=True))
)


def check(value: Any, schema: str) -> None:
    whole = {"$ref": f"#/components/schemas/{schema}", "components": DOCUMENT["components"]}
    jsonschema.Draft202012Validator(whole).validate(json.loads(json.dumps(value)))


def inside(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for each in value.values() if isinstance(value, dict) else value:
        if isinstance(each, dict | list):
            yield from inside(each)


def operations() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            if method != "parameters":
                yield path, item, operation


def test_every_reference_leads_somewhere() -> None:
    references = {each["$ref"] for each in inside(DOCUMENT) if "$ref" in each}
    found = {f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]}
    assert references <= found
    assert len(references) > 10


@pytest.mark.parametrize("name", DOCUMENT["components"]["schemas"])
def test_schemas_are_json_schemas(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(DOCUMENT["components"]["schemas"][name])


def test_operations_have_what_openapi_asks_of_them() -> None:
    assert DOCUMENT["openapi"] == "3.1.0"
    for path, item, operation in operations():
        named = {each["name"] for each in item.get("parameters", ())}
        assert named == {part[1:-1] for part in path.split("/") if part.startswith("{")}, path
        assert "200" in operation["responses"]
        assert all(answer["description"] for answer in operation["responses"].values())


def test_the_examples_of_models_are_requests() -> None:
    example = DOCUMENT["paths"]["/v2/models/digits%2F%C3%A9/infer"]["post"]["requestBody"]
    body = example["content"]["application/json"]["example"]
    check(body, "InferRequest")
    request = parse_infer(json.dumps(body).encode(), None, ProtocolLimits())
    assert [each.shape for each in request.inputs] == [(1, 8, 8, 1), (1,)]
    large = DOCUMENT["paths"]["/v2/models/large/infer"]["post"]["requestBody"]
    assert "example" not in large["content"]["application/json"]


@pytest.mark.parametrize("binary", [False, True])
def test_answers_are_as_described(binary: bool) -> None:
    outputs = (
        Tensor("y", "FP32", (2,), np.array([1, np.nan], np.float32)),
        Tensor("t", "BYTES", (1,), np.array([b"a"], object)),
    )
    chunks, length = write_infer(
        InferResponse("m", "1", "7", outputs, {"fp32": True}),
        InferRequest("7", (), binary_outputs=binary),
    )
    check(json.loads(b"".join(chunks)[:length]), "InferResponse")
    check(json.loads(write_error(ProtocolError(400, "no"))), "Error")


def test_documents_are_as_described() -> None:
    check(document(ServerMetadata("kilnx", "1")), "ServerMetadata")
    check(document(DIGITS), "ModelMetadata")
    entries = (IndexEntry("m", "1", "READY"), IndexEntry("m", "2", "UNAVAILABLE", "no such file"))
    check(index_document(entries), "RepositoryIndex")
    told = statistics_document((ModelStatistics("m", "1"),))
    check(told, "Statistics")
    assert told["model_stats"][0]["inference_stats"]["success"] == {"count": 0, "ns": 0}
    with pytest.raises(jsonschema.ValidationError):
        check({"name": "m"}, "ModelMetadata")


def test_whoever_needs_a_token_may_be_refused_for_a_wrong_one() -> None:
    paths = DOCUMENT["paths"]
    guarded = [
        operation["responses"]
        for item in paths.values()
        for operation in item.values()
        if isinstance(operation, dict) and "401" in operation.get("responses", {})
    ]
    assert len(guarded) > 10
    assert all({"403", "429"} <= responses.keys() for responses in guarded)
