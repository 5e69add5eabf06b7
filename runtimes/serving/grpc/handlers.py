"""What grpcio is given: how each call is read, answered and written."""

from __future__ import annotations

from typing import Any

import grpc

from runtimes.serving.grpc.calls import Calls
from runtimes.serving.grpc.messages import MESSAGE_CLASSES
from runtimes.serving.grpc.specification import CALLS, SERVICE, STREAM
from runtimes.serving.protocol.backend import Backend

_HEALTH = "grpc.health.v1.Health"
# HealthCheckResponse: field 1, an enum: https://github.com/grpc/grpc/blob/master/doc/health-checking.md
_SERVING, _NOT_SERVING = b"\x08\x01", b"\x08\x02"


def handlers(calls: Calls, backend: Backend) -> tuple[Any, ...]:
    """The handlers of the service, and of the health check that Kubernetes probes by."""
    methods = {name: _unary(calls, name) for name in CALLS}
    methods[STREAM] = grpc.stream_stream_rpc_method_handler(
        calls.stream,
        request_deserializer=MESSAGE_CLASSES["ModelInferRequest"].FromString,
        response_serializer=MESSAGE_CLASSES["ModelStreamInferResponse"].SerializeToString,
    )
    return (
        grpc.method_handlers_generic_handler(SERVICE, methods),
        grpc.method_handlers_generic_handler(_HEALTH, {"Check": _health(backend)}),
    )


def _unary(calls: Calls, name: str) -> Any:
    return grpc.unary_unary_rpc_method_handler(
        calls.guarded(name),
        request_deserializer=MESSAGE_CLASSES[f"{name}Request"].FromString,
        response_serializer=MESSAGE_CLASSES[f"{name}Response"].SerializeToString,
    )


def _health(backend: Backend) -> Any:
    async def check(request: bytes, context: Any) -> bytes:
        return _SERVING if backend.ready else _NOT_SERVING

    return grpc.unary_unary_rpc_method_handler(check)
