"""What a model answered can be sent on as the request to the next one."""

from __future__ import annotations

import json

import numpy as np
import pytest

from runtimes.serving.protocol.errors import ProtocolError
from runtimes.serving.protocol.limits import ProtocolLimits
from runtimes.serving.protocol.parse import parse_infer

pytestmark = pytest.mark.fast

ANSWER = {
    "model_name": "first",
    "model_version": "1",
    "id": "a",
    "parameters": {"fp32": True},
    "outputs": [{"name": "h", "datatype": "FP32", "shape": [1, 2], "data": [1.5, 2]}],
}


def parsed(document: object) -> object:
    return parse_infer(json.dumps(document).encode(), None, ProtocolLimits())


def test_an_answer_is_a_request() -> None:
    found = parse_infer(json.dumps(ANSWER).encode(), None, ProtocolLimits())
    assert found.id == "a"
    assert found.outputs is None
    assert not found.parameters
    (tensor,) = found.inputs
    assert tensor.name == "h"
    np.testing.assert_array_equal(tensor.data, np.float32([[1.5, 2]]))


@pytest.mark.parametrize(
    "document",
    [
        {key: value for key, value in ANSWER.items() if key != "model_name"},
        {**ANSWER, "outputs": []},
        {**ANSWER, "outputs": "h"},
        {**ANSWER, "outputs": [{"name": "h"}]},
        {"error": "the stage failed"},
        [ANSWER],
    ],
)
def test_what_is_neither_is_refused(document: object) -> None:
    with pytest.raises(ProtocolError, match="not an inference request"):
        parsed(document)


def test_a_request_stays_one() -> None:
    both = {**ANSWER, "inputs": ANSWER["outputs"], "outputs": [{"name": "y"}]}
    found = parse_infer(json.dumps(both).encode(), None, ProtocolLimits())
    assert found.outputs is not None
    assert [one.name for one in found.outputs] == ["y"]
