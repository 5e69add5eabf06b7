"""What the server tells of itself: lines of a log, and spans."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

pytest.importorskip("msgspec")

from runtimes.serving.exchange import Exchange, Flight
from runtimes.serving.options import ServeLimits
from runtimes.serving.protocol.errors import ProtocolError
from runtimes.serving.request_log import RequestLog, log_to
from runtimes.serving.tracing import Tracing

pytestmark = pytest.mark.fast
TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture(autouse=True)
def quiet_again() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("kilnx", "uvicorn.error")]
    before = [(one, one.handlers, one.propagate, one.level) for one in loggers]
    yield
    for one, handlers, propagate, level in before:
        one.handlers, one.propagate = handlers, propagate
        one.setLevel(level)


def exchange(**headers: str) -> Exchange:
    async def receive() -> dict[str, object]:
        return {"type": "http.disconnect"}

    told = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"method": "POST", "path": "/v2", "headers": told, "client": ("10.0.0.1", 5)}
    return Exchange(scope, receive, ServeLimits(), Flight(100))


def test_json_lines() -> None:
    stream = io.StringIO()
    log_to(stream, "json")
    RequestLog().write(exchange(x_request_id="seven"), 200, 12, 0.0)
    try:
        raise ValueError("a\nb")
    except ValueError:
        logging.getLogger("kilnx.serving").exception("request failed")
    request, failure = (json.loads(line) for line in stream.getvalue().splitlines())
    assert request["event"] == "request"
    assert (request["status"], request["request_id"]) == (200, "seven")
    assert (request["client"], request["bytes"]) == ("10.0.0.1", 12)
    assert "ValueError" in failure["traceback"]


def test_no_client_can_write_a_line_of_its_own() -> None:
    stream = io.StringIO()
    log_to(stream, "text")
    RequestLog().write(exchange(x_request_id="a\n2026 info request status=200"), 400, 0, 0.0)
    assert len(stream.getvalue().splitlines()) == 1


def test_spans() -> None:
    sdk = pytest.importorskip("opentelemetry.sdk.trace")
    export = pytest.importorskip("opentelemetry.sdk.trace.export")
    memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
    exporter = memory.InMemorySpanExporter()
    provider = sdk.TracerProvider()
    provider.add_span_processor(export.SimpleSpanProcessor(exporter))
    tracing = Tracing(provider)
    with tracing.span("net", None, exchange(traceparent=f"00-{TRACE}-b7ad6b7169203331-01")):
        pass
    with pytest.raises(ProtocolError), tracing.span("net", "1", exchange()):
        raise ProtocolError(504, "too late")
    child, alone = exporter.get_finished_spans()
    assert f"{child.context.trace_id:032x}" == TRACE
    assert child.attributes["http.response.status_code"] == 200
    assert alone.parent is None
    assert alone.attributes["http.response.status_code"] == 504
    assert not alone.status.is_ok
    provider.shutdown()
