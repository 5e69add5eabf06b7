"""The server as clients meet it beside plain HTTP: over TLS, over gRPC, with shared weights."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnx_ir as ir
import pytest
from certificates import make_certificate
from served import serving, write_model

from runtimes import RuntimeUnavailable
from runtimes.serving.client import ServedModel
from runtimes.serving.grpc.messages import MESSAGE_CLASSES
from runtimes.serving.options import ModelOptions, ServeOptions
from runtimes.serving.run import running

TOKEN = "a token that only tests know"
X = np.arange(8, dtype=np.float32).reshape(2, 4)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("tls"))


def test_https_is_verified_and_wants_the_token(
    certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    cert, key = certificate
    model = write_model(tmp_path / "net.onnx")
    options = ServeOptions(models=(str(model),), port=0, cert=cert, key=key, token=TOKEN)
    with running(options) as where:
        url = f"{where.url}/v2/models/net"
        assert url.startswith("https://")
        with ServedModel(url, token=TOKEN, ca=str(cert)) as served:
            np.testing.assert_array_equal(served.run({"x": X})["y"], 2 * X)
        with pytest.raises(RuntimeUnavailable, match="token"):
            ServedModel(url, ca=str(cert))
        with pytest.raises(RuntimeUnavailable, match=r"(?i)certificate"):
            ServedModel(url, token=TOKEN)
        with pytest.raises(RuntimeUnavailable, match="does not answer"):
            ServedModel(url.replace("https", "http"), token=TOKEN)


def test_http_and_grpc_answer_from_one_server(
    certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    cert, key = certificate
    model = write_model(tmp_path / "net.onnx")
    options = ServeOptions(
        models=(str(model),), port=0, grpc_port=0, cert=cert, key=key, token=TOKEN
    )
    with running(options) as where:
        assert where.grpc is not None
        found = asyncio.run(_asked(where.grpc, cert.read_bytes()))
        np.testing.assert_array_equal(np.frombuffer(found, np.float32).reshape(X.shape), 2 * X)
        with ServedModel(f"{where.url}/v2/models/net", token=TOKEN, ca=str(cert)) as served:
            np.testing.assert_array_equal(served.run({"x": X})["y"], 2 * X)


async def _asked(address: str, trusted: bytes) -> bytes:
    """The raw output of one request over gRPC."""
    request: Any = MESSAGE_CLASSES["ModelInferRequest"](model_name="net")
    tensor = request.inputs.add(name="x", datatype="FP32")
    tensor.shape.extend(X.shape)
    request.raw_input_contents.append(X.tobytes())
    credentials = grpc.ssl_channel_credentials(trusted)
    async with grpc.aio.secure_channel(address, credentials) as channel:
        call = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=MESSAGE_CLASSES["ModelInferResponse"].FromString,
        )
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(request)
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        answer = await call(request, metadata=(("authorization", f"Bearer {TOKEN}"),))
        return bytes(answer.raw_output_contents[0])


def test_models_share_their_weights_in_a_folder(tmp_path: Path) -> None:
    weight = np.random.default_rng(0).normal(size=(4, 500)).astype(np.float32)
    for name in ("first", "second"):
        x = ir.val("x", ir.DataType.FLOAT, ["n", 4])
        w = ir.val("w", ir.DataType.FLOAT, weight.shape, const_value=ir.tensor(weight, name="w"))
        node = ir.node("MatMul", [x, w])
        y = node.outputs[0]
        y.name, y.type, y.shape = "y", x.type, ir.Shape(["n", 500])
        graph = ir.Graph(
            [x], [y], nodes=[node], initializers=[w], opset_imports={"": 18}, name=name
        )
        ir.save(ir.Model(graph, ir_version=10), tmp_path / f"{name}.onnx")
    models = [tmp_path / "first.onnx", tmp_path / "second.onnx"]
    shared = tmp_path / "shared"
    with serving(*models, model=ModelOptions(share=shared)) as client:
        for name in ("first", "second"):
            with ServedModel(f"http://{client.host}:{client.port}/v2/models/{name}") as served:
                np.testing.assert_allclose(served.run({"x": X})["y"], X @ weight, rtol=1e-5)
    large = [path for path in shared.rglob("*") if path.is_file() and path.stat().st_size >= 8000]
    assert len(large) == 1
