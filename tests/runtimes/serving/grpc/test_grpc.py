"""The service over a real connection, on a server that echoes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from certificates import make_certificate
from fake_backend import FakeBackend
from hypothesis import given, settings
from oip_reference import DATATYPES, Sent, element_bytes
from oip_strategies import tensors

pytest.importorskip("grpc")
pytest.importorskip("msgspec")

import grpc

from runtimes.errors import DataError
from runtimes.serving.grpc.messages import MESSAGE_CLASSES
from runtimes.serving.grpc.requests import read_request, write_response
from runtimes.serving.grpc.serve import TlsFiles, serve_grpc
from runtimes.serving.grpc.specification import PACKAGE, SERVICE
from runtimes.serving.protocol.binary_elements import bytes_of
from runtimes.serving.protocol.errors import ProtocolError
from runtimes.serving.protocol.limits import ProtocolLimits
from runtimes.serving.protocol.messages import InferResponse

pytestmark = pytest.mark.fast
LIMITS = ProtocolLimits()
REQUEST, RESPONSE = MESSAGE_CLASSES["ModelInferRequest"], MESSAGE_CLASSES["ModelInferResponse"]
FIELDS = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "INT64": "int64_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
TOKEN, CONTROL = "a token that only tests know", "another token that only tests know"


def message_of(*sent: Sent, typed: bool = False, model: str = "echo") -> Any:
    message = REQUEST(model_name=model, id="7")
    for each in sent:
        added = message.inputs.add(name=each.name, datatype=each.datatype, shape=each.shape)
        if typed:
            getattr(added.contents, FIELDS[each.datatype]).extend(each.values)
        else:
            data = b"".join(element_bytes(each.datatype, value) for value in each.values)
            message.raw_input_contents.append(data)
    return message


def call(channel: Any, name: str, request: Any, **options: Any) -> Awaitable[Any]:
    ask = channel.unary_unary(
        f"/{SERVICE}/{name}",
        request_serializer=type(request).SerializeToString,
        response_deserializer=MESSAGE_CLASSES[f"{name}Response"].FromString,
    )
    return ask(request, **options)


def talk(
    to: Callable[[Any, FakeBackend], Awaitable[None]],
    limits: ProtocolLimits = LIMITS,
    **served: Any,
) -> None:
    """Run ``to`` with a channel to a server and what is behind it."""

    async def main() -> None:
        backend = FakeBackend()
        server = await serve_grpc(backend, "127.0.0.1:0", limits=limits, **served)
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
                await to(channel, backend)
        finally:
            await server.stop(0)

    asyncio.run(main())


async def refusal(answer: Awaitable[Any]) -> Any:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await answer
    return refused.value


def bytes_in(sent: Sent) -> bytes:
    return b"".join(element_bytes(sent.datatype, value) for value in sent.values)


@given(tensors(name="x", binary=True), tensors(name="y", binary=True))
def test_raw_tensors_arrive_bit_by_bit_both_ways(x: Sent, y: Sent) -> None:
    request = read_request(message_of(x, y), LIMITS)
    answer = write_response(InferResponse("m", "1", "7", request.inputs), request)
    answer = RESPONSE.FromString(answer.SerializeToString())
    assert [bytes(raw) for raw in answer.raw_output_contents] == [bytes_in(x), bytes_in(y)]
    assert [each.datatype for each in answer.outputs] == [x.datatype, y.datatype]
    assert [tuple(each.shape) for each in answer.outputs] == [x.shape, y.shape]


@given(tensors(name="x", binary=True).filter(lambda sent: sent.datatype in FIELDS))
def test_typed_tensors_arrive_bit_by_bit(x: Sent) -> None:
    (tensor,) = read_request(message_of(x, typed=True), LIMITS).inputs
    assert bytes(bytes_of(tensor.datatype, tensor.data)) == bytes_in(x)
    assert tensor.data.shape == x.shape


@settings(max_examples=50)
@given(tensors(name="x", binary=True))
def test_a_tensor_of_another_size_is_refused(x: Sent) -> None:
    message = message_of(x)
    message.raw_input_contents[0] += b"\0"
    with pytest.raises(ProtocolError):
        read_request(message, LIMITS)


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_half_floats_have_no_contents(datatype: str) -> None:
    message = REQUEST()
    message.inputs.add(name="x", datatype=datatype, shape=[1]).contents.fp32_contents.append(1)
    with pytest.raises(ProtocolError, match="send raw_input_contents"):
        read_request(message, LIMITS)


def test_contents_that_do_not_fit_are_refused() -> None:
    wrong = message_of(Sent("x", "INT8", (1,), [300]), typed=True)
    with pytest.raises(ProtocolError, match="not every element is INT8"):
        read_request(wrong, LIMITS)
    other = message_of(Sent("x", "FP32", (1,), [1.0]), typed=True)
    other.inputs[0].datatype = "FP64"
    with pytest.raises(ProtocolError, match="0 elements are given"):
        read_request(other, LIMITS)
    both = message_of(Sent("x", "FP32", (1,), [1.0]))
    both.inputs[0].contents.fp32_contents.append(1)
    with pytest.raises(ProtocolError, match="both"):
        read_request(both, LIMITS)
    few = message_of(Sent("x", "INT8", (1,), [1]), Sent("y", "INT8", (1,), [1]))
    del few.raw_input_contents[1]
    with pytest.raises(ProtocolError, match="send one each"):
        read_request(few, LIMITS)
    long = message_of(Sent("x", "BYTES", (1,), [b"long"]), typed=True)
    with pytest.raises(ProtocolError, match="may have 3 bytes"):
        read_request(long, ProtocolLimits(string_bytes=3))


def test_parameters_and_classes() -> None:
    message = message_of(Sent("x", "FP32", (1, 2), [1.0, 2.0]))
    for value, field in ((True, "bool"), (5, "int64"), ("s", "string"), (0.5, "double")):
        setattr(message.parameters[field], f"{field}_param", value)
    wanted = message.outputs.add(name="x")
    wanted.parameters["classification"].int64_param = 1
    request = read_request(message, LIMITS)
    assert request.parameters == {"bool": True, "int64": 5, "string": "s", "double": 0.5}
    made = InferResponse("m", "1", None, request.inputs, request.parameters, {"x": ("no", "yes")})
    answer = write_response(made, request)
    assert answer.raw_output_contents[0] == b"\x09\0\0\0" + b"2.0:1:yes"
    assert answer.parameters["int64"].int64_param == 5
    assert answer.parameters["bool"].bool_param
    with pytest.raises(ProtocolError, match="parameters in one place"):
        read_request(message, ProtocolLimits(parameters=3))


def test_the_calls_answer() -> None:
    async def to(channel: Any, backend: FakeBackend) -> None:
        made = MESSAGE_CLASSES
        assert (await call(channel, "ServerLive", made["ServerLiveRequest"]())).live
        assert (await call(channel, "ServerReady", made["ServerReadyRequest"]())).ready
        ready = made["ModelReadyRequest"](name="echo", version="2")
        assert not (await call(channel, "ModelReady", ready)).ready
        told = await call(channel, "ServerMetadata", made["ServerMetadataRequest"]())
        assert (told.name, "statistics" in told.extensions) == ("fake", True)
        told = await call(channel, "ModelMetadata", made["ModelMetadataRequest"](name="echo"))
        assert told.inputs[0].shape == [-1, 2]
        told = await call(channel, "ModelStatistics", made["ModelStatisticsRequest"]())
        assert told.model_stats[0].inference_stats.success.ns == 4
        told = await call(channel, "RepositoryIndex", made["RepositoryIndexRequest"]())
        assert [each.state for each in told.models] == ["READY", "UNAVAILABLE"]
        told = await call(channel, "RepositoryIndex", made["RepositoryIndexRequest"](ready=True))
        assert len(told.models) == 1
        x = Sent("x", "FP32", (2,), [1.0, 2.0])
        answer = await call(channel, "ModelInfer", message_of(x), timeout=20)
        assert (answer.model_name, answer.model_version, answer.id) == ("echo", "1", "7")
        assert answer.raw_output_contents[0] == bytes_in(x)
        assert 0 < (backend.timeout or 0) < 60
        await call(channel, "ModelInfer", message_of(x))
        assert backend.timeout is None

    talk(to)


def test_errors_have_the_status_that_says_so(caplog: pytest.LogCaptureFixture) -> None:
    codes = {
        "400": "INVALID_ARGUMENT",
        "404": "NOT_FOUND",
        "418": "INVALID_ARGUMENT",
        "429": "RESOURCE_EXHAUSTED",
        "503": "UNAVAILABLE",
        "504": "DEADLINE_EXCEEDED",
        "599": "INTERNAL",
    }

    async def to(channel: Any, backend: FakeBackend) -> None:
        for status, code in codes.items():
            error = await refusal(call(channel, "ModelInfer", message_of(model=status)))
            assert (error.code().name, error.details()) == (code, f"status {status}")
        error = await refusal(call(channel, "ModelInfer", message_of(model="overloaded")))
        assert dict(error.trailing_metadata())["grpc-retry-pushback-ms"] == "250"
        with caplog.at_level(logging.CRITICAL + 1):
            error = await refusal(call(channel, "ModelInfer", message_of(model="defect")))
        assert error.code() is grpc.StatusCode.INTERNAL
        assert "secret" not in error.details()
        lost = MESSAGE_CLASSES["ModelMetadataRequest"](name="lost")
        error = await refusal(call(channel, "ModelMetadata", lost))
        assert error.code() is grpc.StatusCode.NOT_FOUND
        x = Sent("x", "FP32", (2,), [1.0])
        error = await refusal(call(channel, "ModelInfer", message_of(x)))
        assert "4 bytes are given" in error.details()

    talk(to)


def test_tokens_are_asked_for() -> None:
    bearer = {"right": TOKEN, "control": CONTROL, "wrong": TOKEN + "x"}
    sent = {name: (("authorization", f"Bearer {token}"),) for name, token in bearer.items()}

    async def to(channel: Any, backend: FakeBackend) -> None:
        live = MESSAGE_CLASSES["ServerLiveRequest"]()
        assert (await call(channel, "ServerLive", live)).live
        message, load = message_of(), MESSAGE_CLASSES["RepositoryModelLoadRequest"](model_name="a")
        for metadata in (None, sent["wrong"], (("authorization", f"Basic {TOKEN}"),)):
            for name, request in (("ModelInfer", message), ("RepositoryModelLoad", load)):
                error = await refusal(call(channel, name, request, metadata=metadata))
                assert error.code() is grpc.StatusCode.UNAUTHENTICATED
        for who in ("right", "control"):
            await call(channel, "ModelInfer", message, metadata=sent[who])
        error = await refusal(call(channel, "RepositoryModelLoad", load, metadata=sent["right"]))
        assert error.code() is grpc.StatusCode.UNAUTHENTICATED
        await call(channel, "RepositoryModelLoad", load, metadata=sent["control"])
        unload = MESSAGE_CLASSES["RepositoryModelUnloadRequest"](model_name="b")
        await call(channel, "RepositoryModelUnload", unload, metadata=sent["control"])
        assert backend.models.asked == ["load a", "unload b"]
        error = await refusal(_stream(channel, [message]))
        assert error.code() is grpc.StatusCode.UNAUTHENTICATED

    talk(to, token=TOKEN, control_token=CONTROL)


def test_nobody_loads_models_without_a_token() -> None:
    async def to(channel: Any, backend: FakeBackend) -> None:
        load = MESSAGE_CLASSES["RepositoryModelLoadRequest"](model_name="a")
        error = await refusal(call(channel, "RepositoryModelLoad", load))
        assert error.code() is grpc.StatusCode.PERMISSION_DENIED
        assert not backend.models.asked

    talk(to)


async def _stream(channel: Any, messages: list[Any]) -> list[Any]:
    ask = channel.stream_stream(
        f"/{SERVICE}/ModelStreamInfer",
        request_serializer=REQUEST.SerializeToString,
        response_deserializer=MESSAGE_CLASSES["ModelStreamInferResponse"].FromString,
    )
    return [answer async for answer in ask(iter(messages))]


def test_a_stream_answers_in_turn_and_outlives_an_error() -> None:
    async def to(channel: Any, backend: FakeBackend) -> None:
        x = Sent("x", "INT8", (1,), [3])
        found = await _stream(channel, [message_of(x), message_of(model="404"), message_of(x)])
        assert [each.error_message for each in found] == ["", "status 404", ""]
        assert found[2].infer_response.raw_output_contents[0] == b"\x03"

    talk(to)


def test_who_leaves_is_no_longer_worked_for() -> None:
    async def to(channel: Any, backend: FakeBackend) -> None:
        left = await refusal(call(channel, "ModelInfer", message_of(model="slow"), timeout=0.3))
        assert left.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await asyncio.wait_for(backend.cancelled.wait(), 30)

    talk(to)


def test_messages_above_the_limit_are_refused_before_they_are_read() -> None:
    async def to(channel: Any, backend: FakeBackend) -> None:
        large = Sent("x", "UINT8", (3 * 2**20,), [0] * (3 * 2**20))
        message = REQUEST(model_name="echo", raw_input_contents=[bytes(large.shape[0])])
        message.inputs.add(name="x", datatype="UINT8", shape=large.shape)
        error = await refusal(call(channel, "ModelInfer", message))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await call(channel, "ModelInfer", message_of())).id == "7"

    talk(to, ProtocolLimits(body_bytes=2**20))


def test_compressed_messages_are_refused_before_they_grow() -> None:
    async def to(channel: Any, backend: FakeBackend) -> None:
        message = REQUEST(model_name="echo", raw_input_contents=[bytes(2**20)])
        message.inputs.add(name="x", datatype="UINT8", shape=[2**20])
        packed = grpc.Compression.Gzip
        error = await refusal(call(channel, "ModelInfer", message, compression=packed))
        assert error.code() is grpc.StatusCode.UNIMPLEMENTED
        assert (await call(channel, "ModelInfer", message)).id == ""

    talk(to)


def test_bytes_that_are_no_message_are_refused() -> None:
    async def to(channel: Any, backend: FakeBackend) -> None:
        ask = channel.unary_unary(f"/{SERVICE}/ModelInfer")
        for junk in (b"\xff", b"\x0a\xff", message_of(model="echo").SerializeToString()[:-1]):
            await refusal(ask(junk))
        assert (await call(channel, "ModelInfer", message_of())).id == "7"

    talk(to)


def test_grpcs_own_health_check_answers() -> None:
    async def to(channel: Any, backend: FakeBackend) -> None:
        ask = channel.unary_unary("/grpc.health.v1.Health/Check")
        assert await ask(b"") == b"\x08\x01"
        backend.ready = False
        assert await ask(b"") == b"\x08\x02"

    talk(to)


def test_where_it_cannot_listen_is_said() -> None:
    async def main() -> None:
        first = await serve_grpc(FakeBackend(), "127.0.0.1:0")
        try:
            with pytest.raises(DataError, match="gRPC cannot listen on"):
                await serve_grpc(FakeBackend(), f"127.0.0.1:{first.port}")
        finally:
            await first.stop(0)

    asyncio.run(main())


def test_a_certificate_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cert\.pem cannot be read"):
        asyncio.run(serve_grpc(FakeBackend(), "127.0.0.1:0", tls=TlsFiles(tmp_path / "cert.pem")))


@pytest.mark.parametrize("one_file", [False, True])
def test_a_certificate_encrypts(tmp_path: Path, one_file: bool) -> None:
    cert, key = make_certificate(tmp_path)
    trusted = grpc.ssl_channel_credentials(cert.read_bytes())
    if one_file:
        cert.write_bytes(key.read_bytes() + cert.read_bytes())
    tls = TlsFiles(cert, None if one_file else key)

    async def main() -> None:
        server = await serve_grpc(FakeBackend(), "127.0.0.1:0", tls=tls)
        address = f"127.0.0.1:{server.port}"
        options = (("grpc.ssl_target_name_override", "localhost"),)
        try:
            async with grpc.aio.secure_channel(address, trusted, options) as channel:
                assert (await call(channel, "ModelInfer", message_of())).id == "7"
            async with grpc.aio.insecure_channel(address) as channel:
                await refusal(call(channel, "ModelInfer", message_of(), timeout=20))
        finally:
            await server.stop(0)

    asyncio.run(main())


def test_the_messages_stay_out_of_the_default_pool() -> None:
    from google.protobuf import descriptor_pool

    with pytest.raises(KeyError):
        descriptor_pool.Default().FindMessageTypeByName(f"{PACKAGE}.ModelInferRequest")
    assert set(DATATYPES) - set(FIELDS) == {"FP16", "BF16"}
