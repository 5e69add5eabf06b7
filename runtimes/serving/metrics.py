"""Prometheus' metrics, made from the plain counters when somebody asks for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from runtimes.serving.server import Server
from runtimes.serving.statistics import BUCKETS
from runtimes.serving.version import ServedVersion

_LABELS = ("model", "version")
_COUNTERS = (
    ("kilnx_requests_success", "Requests that were answered", "success", 1.0),
    ("kilnx_requests_failed", "Requests that were answered with an error", "failed", 1.0),
    ("kilnx_requests_rejected", "Requests refused because too many waited", "rejected", 1.0),
    ("kilnx_requests_expired", "Requests whose deadline passed before they ran", "expired", 1.0),
    ("kilnx_requests_cancelled", "Requests whose client left before they ran", "cancelled", 1.0),
    ("kilnx_requests_fp32", "Requests that the fp32 original answered", "fp32", 1.0),
    ("kilnx_samples", "Samples of the requests that were answered", "samples", 1.0),
    ("kilnx_executions", "Runs of the model", "executions", 1.0),
    ("kilnx_compute_seconds", "Seconds in runs of the model", "compute_ns", 1e-9),
    ("kilnx_queue_seconds", "Seconds that requests waited", "queue_ns", 1e-9),
)


def metrics_text(server: Server, statuses: Mapping[int, int]) -> tuple[str, bytes]:
    """The content type and the text of ``/metrics``."""
    from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
    from prometheus_client.platform_collector import PlatformCollector
    from prometheus_client.process_collector import ProcessCollector

    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    registry.register(_Collector(server, statuses))
    return CONTENT_TYPE_LATEST, generate_latest(registry)


class _Collector:
    """What the server counted, as Prometheus wants it."""

    def __init__(self, server: Server, statuses: Mapping[int, int]) -> None:
        self._server, self._statuses = server, statuses

    def collect(self) -> Iterable[Any]:
        """All metrics of the server."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        versions = list(self._server.models)
        for name, text, attribute, factor in _COUNTERS:
            counter = CounterMetricFamily(name, text, labels=_LABELS)
            for one in versions:
                counter.add_metric(_key(one), getattr(one.statistics, attribute) * factor)
            yield counter
        answers = CounterMetricFamily("kilnx_http_answers", "HTTP answers", labels=("status",))
        for status, count in sorted(self._statuses.items()):
            answers.add_metric((str(status),), count)
        yield answers
        connections = GaugeMetricFamily("kilnx_connections", "Connections that are open")
        connections.add_metric((), self._server.connections())
        yield connections
        yield _latencies(versions)
        yield from _gauges(versions)


def _gauges(versions: list[ServedVersion]) -> Iterable[Any]:
    from prometheus_client.core import GaugeMetricFamily

    waiting = GaugeMetricFamily("kilnx_queue_length", "Requests that wait", labels=_LABELS)
    running = GaugeMetricFamily("kilnx_running", "Replicas that are busy", labels=_LABELS)
    fallback = GaugeMetricFamily(
        "kilnx_fp32_active", "1 while the fp32 original answers for the model", labels=_LABELS
    )
    for one in versions:
        waiting.add_metric(_key(one), one.scheduler.waiting)
        running.add_metric(_key(one), one.scheduler.running)
        fallback.add_metric(_key(one), bool(one.monitor and one.monitor.uses_fp32))
    return waiting, running, fallback


def _latencies(versions: list[ServedVersion]) -> Any:
    from prometheus_client.core import HistogramMetricFamily

    family = HistogramMetricFamily(
        "kilnx_request_seconds", "From parsed request to outputs", labels=_LABELS
    )
    for one in versions:
        total, buckets = 0, []
        for place, count in enumerate(one.statistics.latency):
            total += count
            last = place == BUCKETS - 1
            buckets.append(("+Inf" if last else repr(2.0**place * 1e-6), float(total)))
        family.add_metric(_key(one), buckets, one.statistics.success_ns * 1e-9)
    return family


def _key(served: ServedVersion) -> tuple[str, str]:
    return served.name, served.version
