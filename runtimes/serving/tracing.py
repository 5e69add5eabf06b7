"""OpenTelemetry spans for inference requests, with the names of its semantic conventions.

Where they go is said as everywhere else: by the variables ``OTEL_EXPORTER_OTLP_ENDPOINT``,
``OTEL_TRACES_SAMPLER`` and so on. https://opentelemetry.io/docs/specs/semconv/http/http-spans/
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from runtimes.errors import RuntimeUnavailable
from runtimes.extras import missing_extra
from runtimes.serving.errors import as_protocol_error
from runtimes.serving.exchange import Exchange


class Tracing:
    """Makes a span of each request, a child of the client's own if it tells one."""

    def __init__(self, provider: Any) -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._tracer = provider.get_tracer("kilnx.serving")
        self._propagator = TraceContextTextMapPropagator()

    @classmethod
    def start(cls) -> Tracing:
        """With the exporter that OpenTelemetry's variables name; raises ``RuntimeUnavailable``."""
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError as error:
            raise RuntimeUnavailable(missing_extra("OpenTelemetry", "trace", str(error))) from error
        provider = TracerProvider(resource=Resource.create({"service.name": "kilnx"}))
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        return cls(provider)

    @contextmanager
    def span(self, name: str, version: str | None, exchange: Exchange) -> Iterator[None]:
        """The span of one request."""
        from opentelemetry.trace import SpanKind, Status, StatusCode

        carrier = {key: exchange.text(key.encode()) for key in ("traceparent", "tracestate")}
        parent = self._propagator.extract({k: value for k, value in carrier.items() if value})
        about = {
            "http.request.method": "POST",
            "http.route": "/v2/models/{model}/infer",
            "kilnx.model": name,
            "kilnx.version": version or "",
            "http.request.header.x-request-id": exchange.text(b"x-request-id")[:128],
        }
        with self._tracer.start_as_current_span(
            "infer", context=parent, kind=SpanKind.SERVER, attributes=about, record_exception=False
        ) as span:
            try:
                yield
            except Exception as error:
                answered = as_protocol_error(error)
                span.set_attribute("http.response.status_code", answered.status)
                if answered.status >= 500:
                    span.set_status(Status(StatusCode.ERROR, answered.message[:200]))
                raise
            span.set_attribute("http.response.status_code", 200)
