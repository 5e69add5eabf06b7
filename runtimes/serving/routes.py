"""Which function answers which path: https://kserve.github.io/website/latest/modelserving/data_plane/v2_protocol/."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import msgspec

from runtimes.serving.access import Access
from runtimes.serving.direct import Target
from runtimes.serving.errors import Unavailable, WrongMethod, not_found
from runtimes.serving.exchange import Answer, Exchange
from runtimes.serving.infer import InferHandler
from runtimes.serving.metrics import metrics_text
from runtimes.serving.monitoring import Monitor
from runtimes.serving.protocol.documents import document, index_document, statistics_document
from runtimes.serving.protocol.errors import ProtocolError
from runtimes.serving.push.routes import PushRoutes
from runtimes.serving.server import Server

Handler = Callable[[Exchange], Awaitable[Answer]]
_JSON = (b"content-type", b"application/json")
_TEXT = (b"content-type", b"text/plain; charset=utf-8")


class Routes:
    """The handlers by method and path; those of models are made anew when the models change.

    Attributes:
        infer: Answers requests for models.
        direct: The models, and their versions, that the URLs of such requests name.
    """

    def __init__(self, server: Server, access: Access, statuses: dict[int, int]) -> None:
        self._server, self._access, self._statuses = server, access, statuses
        self.infer = InferHandler(server, access)
        self._pushes = None
        if server.receiver is not None:
            most = server.options.limits.body_bytes
            self._pushes = PushRoutes(server.models, most, server.receiver, access)
        self._fixed: dict[tuple[str, str], Handler] = {
            ("GET", "/v2"): _open(self._server_metadata),
            ("GET", "/v2/"): _open(self._server_metadata),
            ("GET", "/v2/health/live"): _open(self._live),
            ("GET", "/v2/health/ready"): _open(self._ready),
            ("GET", "/v2/models/stats"): self._guarded(self._all_statistics),
            ("GET", "/metrics"): self._guarded(self._metrics),
            ("GET", "/monitor"): self._guarded(self._monitor),
            ("GET", "/openapi.json"): self._guarded(self._openapi),
            ("POST", "/v2/repository/index"): self._index,
        }
        self.direct: dict[bytes, Target] = {}
        self._known: dict[tuple[str, str], Handler] = {}
        self._rebuild()
        server.models.on_change = self._rebuild

    def find(self, method: str, path: str) -> Handler:
        """The handler of a request; raises ``ProtocolError`` where there is none."""
        found = self._known.get((method, path))
        return found if found is not None else self._look_for(method, path)

    def _rebuild(self) -> None:
        targets: dict[str, Target] = {}
        for served in self._server.models:
            name, version = served.name, served.version
            targets[f"/v2/models/{name}/infer"] = name, None
            targets[f"/v2/models/{name}/versions/{version}/infer"] = name, version
        handlers = {("POST", path): partial(self.infer, *of) for path, of in targets.items()}
        self._known = {**self._fixed, **handlers}
        self.direct = {path.encode(): target for path, target in targets.items()}

    def _look_for(self, method: str, path: str) -> Handler:
        """Paths that hold a name, and those that hold nothing."""
        parts = path.strip("/").split("/")
        options = self._of_model(parts) or self._of_repository(parts) or self._of_page(path, parts)
        options = options or {m: handler for (m, p), handler in self._fixed.items() if p == path}
        if not options:
            raise not_found(
                f"there is nothing at {path[:200]!r}; /openapi.json lists what there is"
            )
        if "GET" in options:
            options["HEAD"] = options["GET"]  # uvicorn leaves out the body
        if method not in options:
            raise WrongMethod(path, method, sorted(options))
        return options[method]

    def _of_model(self, parts: list[str]) -> dict[str, Handler]:
        if len(parts) < 3 or parts[:2] != ["v2", "models"]:
            return {}
        name, rest, version = parts[2], parts[3:], None
        if len(rest) >= 2 and rest[0] == "versions":
            version, rest = rest[1], rest[2:]
        told = {
            "": self._guarded(partial(self._model_metadata, name, version)),
            "ready": _open(partial(self._model_ready, name, version)),
            "stats": self._guarded(partial(self._model_statistics, name, version)),
        }
        done = {
            "infer": partial(self.infer, name, version),
            "feedback": partial(self._feedback, name, version),
            "come_back": partial(self._come_back, name, version),
        }
        action = "/".join(rest)
        found: dict[str, Handler] = {}
        if action in told:
            found["GET"] = told[action]
        if action in done:
            found["POST"] = done[action]
        return found

    def _of_repository(self, parts: list[str]) -> dict[str, Handler]:
        match parts:
            case ["v2", "repository", "models", name, ("load" | "unload") as action]:
                return {"POST": partial(self._control, name, action)}
        return {} if self._pushes is None else self._pushes.find(parts)

    def _of_page(self, path: str, parts: list[str]) -> dict[str, Handler]:
        if self._server.options.page and (path == "/" or parts[0] == "page"):
            return {"GET": _open(partial(_page, path))}
        return {}

    def _guarded(self, answer: Callable[[], Answer]) -> Handler:
        """``answer`` for those who know the token."""

        async def handler(exchange: Exchange) -> Answer:
            self._access.check(exchange)
            return answer()

        return handler

    def _server_metadata(self) -> Answer:
        return _json(document(self._server.metadata))

    def _live(self) -> Answer:
        return _json({"live": True})

    def _ready(self) -> Answer:
        if not self._server.ready:
            raise Unavailable("the server starts, stops, or lacks a model that it should serve")
        return _json({"ready": True})

    def _model_ready(self, name: str, version: str | None) -> Answer:
        self._server.models.get(name, version)
        return _json({"name": name, "ready": True})

    def _model_metadata(self, name: str, version: str | None) -> Answer:
        return _json(document(self._server.models.metadata(name, version)))

    def _model_statistics(self, name: str, version: str | None) -> Answer:
        found = self._server.models.statistics(name, version)
        return _json(statistics_document(tuple(found)))

    def _all_statistics(self) -> Answer:
        return _json(statistics_document(tuple(self._server.models.statistics(None, None))))

    def _metrics(self) -> Answer:
        kind, text = metrics_text(self._server, self._statuses)
        return 200, [(b"content-type", kind.encode())], text

    def _monitor(self) -> Answer:
        found: dict[str, dict[str, Any]] = {}
        for served in self._server.models:
            monitor = served.monitor
            status = None if monitor is None else monitor.status()
            found.setdefault(served.name, {})[served.version] = status
        return _json({"models": found})

    def _openapi(self) -> Answer:
        from runtimes.serving.protocol.openapi import openapi_document

        models = self._server.models
        names = sorted({served.name for served in models})
        metadata = [models.metadata(name, None) for name in names]
        title, version = self._server.metadata.name, self._server.metadata.version
        pushes = self._pushes is not None
        return _json(openapi_document(metadata, title=title, version=version, pushes=pushes))

    async def _index(self, exchange: Exchange) -> Answer:
        self._access.check(exchange)
        asked = _object(await exchange.body())
        found = self._server.models.index(ready=asked.get("ready") is True)
        return _json(index_document(tuple(found)))

    async def _control(self, name: str, action: str, exchange: Exchange) -> Answer:
        self._access.check_control(exchange)
        _object(await exchange.body())
        models = self._server.models
        await (models.load(name) if action == "load" else models.unload(name))
        return _json({})

    async def _come_back(self, name: str, version: str | None, exchange: Exchange) -> Answer:
        self._access.check_control(exchange)
        self._monitor_of(name, version).come_back()
        return _json({})

    def _monitor_of(self, name: str, version: str | None) -> Monitor:
        monitor = self._server.models.get(name, version).monitor
        if monitor is None:
            raise ProtocolError(409, f"the model {name!r} has no monitor: it is not a bundle")
        return monitor

    async def _feedback(self, name: str, version: str | None, exchange: Exchange) -> Answer:
        self._access.check(exchange)
        asked = _object(await exchange.body())
        monitor = self._monitor_of(name, version)
        labels = _labels(asked)
        for request_id, label in labels:
            monitor.feedback(request_id, label)
        return _json({"accepted": len(labels)})


def _open(answer: Callable[[], Answer]) -> Handler:
    """``answer`` for everybody: it tells nothing of models or requests."""

    async def handler(exchange: Exchange) -> Answer:
        return answer()

    return handler


def _page(path: str) -> Answer:
    from runtimes.serving.page import PAGE_HEADERS, page_response

    status, kind, body = page_response(path)
    headers = [(name.lower().encode(), value.encode()) for name, value in PAGE_HEADERS.items()]
    return status, [(b"content-type", kind.encode()), *headers], body


def _json(value: Any) -> Answer:
    return 200, [_JSON], msgspec.json.encode(value)


def _object(body: bytes) -> dict[str, Any]:
    """The JSON object in a body; an empty body is an empty object."""
    try:
        found = msgspec.json.decode(body) if body.strip() else {}
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ProtocolError(400, f"the body is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise ProtocolError(400, "the body has to be a JSON object")
    return found


def _labels(asked: dict[str, Any]) -> list[tuple[str, Any]]:
    given = asked.get("feedback", [asked])
    if not isinstance(given, list):
        raise ProtocolError(400, '"feedback" has to be a list')
    return [_label(one) for one in given]


def _label(given: Any) -> tuple[str, Any]:
    if not (isinstance(given, dict) and isinstance(given.get("id"), str) and "label" in given):
        raise ProtocolError(400, 'feedback is {"id": "the id of a request", "label": what it is}')
    return given["id"], given["label"]
