"""A served model is a runtime like any other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from runtimes import DataError, ModelError, RuntimeUnavailable, check, open_runtime
from runtimes.serving.client import ServedModel, _answered
from runtimes.serving.options import ServeOptions
from runtimes.serving.protocol.errors import ProtocolError
from runtimes.serving.run import running

TOKEN = "a token that only tests know"
X = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    x = ir.val("x", ir.DataType.FLOAT, ["N", 3])
    node = ir.node("Exp", [x])
    y = node.outputs[0]
    y.name, y.type, y.shape = "y", x.type, ir.Shape(["N", 3])
    graph = ir.Graph([x], [y], nodes=[node], opset_imports={"": 18}, name="exp")
    path = tmp_path_factory.mktemp("model") / "exp.onnx"
    ir.save(ir.Model(graph, ir_version=10), path)
    return path


@pytest.fixture(scope="module")
def url(model: Path) -> Iterator[str]:
    with running(ServeOptions(models=(f"exp={model}",), port=0, token=TOKEN)) as where:
        yield where.url


def test_a_served_model_gives_the_same_bits(url: str, model: Path) -> None:
    with ServedModel(f"{url}/v2/models/exp", token=TOKEN) as served, open_runtime(model) as here:
        assert [(one.name, one.dtype) for one in served.inputs] == [("x", np.float32)]
        np.testing.assert_array_equal(served.run({"x": X})["y"], here.run({"x": X})["y"])
        assert check(model, served, {"x": X}, stress="none").passed


def test_what_the_server_refuses_is_told(url: str) -> None:
    with pytest.raises(RuntimeUnavailable, match="token"):
        ServedModel(f"{url}/v2/models/exp")
    with pytest.raises(ModelError, match="other"):
        ServedModel(f"{url}/v2/models/other", token=TOKEN)
    with pytest.raises(DataError, match="v2/models/NAME"):
        ServedModel(url, token=TOKEN)


@pytest.mark.parametrize(
    ("body", "length"),
    [
        (b"{}", 3),
        (b"{}", None),
        (b'{"outputs": [{"name": "y", "datatype": "FP32", "shape": [-1]}]}', None),
        (
            b'{"outputs": [{"name": "y", "datatype": "FP32", "shape": [2],'
            b' "parameters": {"binary_data_size": 8}}]}' + b"1234",
            97,
        ),
        (b'{"outputs": [{"name": "y", "datatype": "FP32", "shape": [99999999999]}]}', None),
    ],
)
def test_a_malformed_answer_is_an_error(body: bytes, length: int | None) -> None:
    with pytest.raises((ValueError, KeyError, ProtocolError)):
        _answered(body, length)
