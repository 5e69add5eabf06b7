"""The server's log: one event a line, as text or as JSON, with the fields that belong to it."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

from runtimes.serving.exchange import Exchange
from runtimes.serving.options import LogFormat

_LOG = logging.getLogger("kilnx.requests")
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """Each event as one JSON object on one line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        event = {
            "time": _time(record.created),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            event["traceback"] = self.formatException(record.exc_info)
        return json.dumps(event, default=str)


class TextLines(logging.Formatter):
    """Each event for people, its fields behind it."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, and a traceback below it."""
        fields = " ".join(f"{name}={_quoted(value)}" for name, value in _fields(record).items())
        line = f"{_time(record.created)} {record.levelname.lower()} {record.getMessage()} {fields}"
        trace = f"\n{self.formatException(record.exc_info)}" if record.exc_info else ""
        return line.rstrip() + trace


def log_to(stream: TextIO | None, form: LogFormat) -> logging.Handler:
    """Write the events of the server, and of what it stands on, to ``stream`` (None: stderr)."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    for name, level in (("kilnx", logging.INFO), ("uvicorn.error", logging.ERROR)):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(level)
    return handler


class RequestLog:
    """Writes each request."""

    start = staticmethod(time.perf_counter)

    def write(self, exchange: Exchange, status: int, size: int, started: float) -> None:
        """One request that was answered."""
        about = {
            "method": exchange.scope["method"],
            "path": exchange.path[:500],
            "status": status,
            "bytes": size,
            "ms": round((time.perf_counter() - started) * 1e3, 3),
            "client": exchange.address,
            "request_id": exchange.text(b"x-request-id")[:128],
        }
        _LOG.info("request", extra=about)


def _fields(record: logging.LogRecord) -> Mapping[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _OWN}


def _quoted(value: Any) -> str:
    """A value on one line: what a client sends cannot look like another event."""
    text = str(value)
    return text if text.isprintable() and " " not in text and text else json.dumps(text)


def _time(seconds: float) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds % 1 * 1000):03d}Z"
