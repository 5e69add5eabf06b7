"""What an agent answers to those who know its token.

::

    GET    /v1/info                what the machine is, and which engines it has
    POST   /v1/missing             {"parts": [digest, …]}: those that have to be sent
    PUT    /v1/parts/DIGEST        a part of a model
    PUT    /v1/jobs/NAME           start a process
    POST   /v1/jobs/NAME/NUMBER    ask it something: a frame
    GET    /v1/jobs/NAME/NUMBER    its answer: a frame, or 202 while it works
    DELETE /v1/jobs/NAME           end it

All of them may be sent again after a link broke: names, numbers and digests come from the client.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING

from runtimes.agent.http_handler import HttpError, refusal
from runtimes.agent.jobs import Busy, Jobs, OutOfOrder
from runtimes.agent.limits import Limits
from runtimes.agent.messages import DIGEST, JOB_NAME, Part, Request
from runtimes.agent.protocol import decode, json_of, told_of
from runtimes.agent.store import MissingParts, PartStore
from runtimes.agent.typed_json import Malformed, read
from runtimes.base import Feed
from runtimes.errors import KilnxError

if TYPE_CHECKING:
    from runtimes.agent.http_handler import AgentHandler

# A client that waits hears from the agent at least this often.
POLL_SECONDS = 5.0

Answer = tuple[HTTPStatus, bytes]
_PREFIX = ("", "v1")


class Routes:
    """The answers of an agent, by method and path."""

    def __init__(
        self, jobs: Jobs, store: PartStore, limits: Limits, about: Callable[[], bytes]
    ) -> None:
        self._jobs, self._store, self._limits, self._about = jobs, store, limits, about

    def answer(self, request: AgentHandler) -> Answer:
        """Answer one request; raises ``HttpError``."""
        try:
            return self._routed(request, request.path.split("/"))
        except Malformed as error:
            raise refusal(HTTPStatus.BAD_REQUEST, str(error)) from error
        except KilnxError as error:
            kind = type(error).__name__
            raise refusal(HTTPStatus.UNPROCESSABLE_ENTITY, str(error), kind) from error
        except MissingParts as error:
            missing = {"missing": list(error.digests)}
            raise HttpError(HTTPStatus.CONFLICT, missing) from error
        except Busy as error:
            message = f"the device runs {self._limits.jobs} jobs already, the most at a time"
            raise refusal(
                HTTPStatus.SERVICE_UNAVAILABLE, message, "RuntimeUnavailable", wait=2
            ) from error
        except OutOfOrder as error:
            raise refusal(HTTPStatus.GONE, "this job has ended, or is elsewhere") from error

    def _routed(self, request: AgentHandler, path: list[str]) -> Answer:
        match (request.command, *path):
            case ("GET", "", "v1", "info"):
                return HTTPStatus.OK, self._about()
            case ("POST", "", "v1", "missing"):
                return self._missing(request)
            case ("PUT", "", "v1", "parts", digest) if DIGEST.fullmatch(digest):
                self._store.add(Part(digest, request.body_size), request.read_body)
                return HTTPStatus.OK, b"{}"
            case (method, "", "v1", "jobs", name, *rest) if JOB_NAME.fullmatch(name):
                return self._job(request, method, name, rest)
        raise refusal(HTTPStatus.NOT_FOUND, "there is no such thing here")

    def _missing(self, request: AgentHandler) -> Answer:
        told = read(dict[str, tuple[str, ...]], json_of(request.read_body()), "the list of parts")
        return HTTPStatus.OK, told_of({"missing": self._store.missing(told.get("parts", ()))})

    def _job(self, request: AgentHandler, method: str, name: str, rest: list[str]) -> Answer:
        if method == "PUT" and not rest:
            self._jobs.start(name)
            return HTTPStatus.OK, b"{}"
        if method == "DELETE" and not rest:
            self._jobs.end(name)
            return HTTPStatus.OK, b"{}"
        if method not in ("GET", "POST") or len(rest) != 1 or not _is_number(rest[0]):
            raise refusal(HTTPStatus.NOT_FOUND, "there is no such thing here")
        job, number = self._jobs.find(name), int(rest[0])
        if job is None:
            raise OutOfOrder
        if method == "POST":
            frame = request.read_body()  # also of one that was sent before
            job.ask(number, lambda: self._request(frame))
        found = job.answer(number, POLL_SECONDS)
        return (HTTPStatus.ACCEPTED, b"{}") if found is None else (HTTPStatus.OK, found)

    def _request(self, frame: bytes) -> tuple[Request, Feed]:
        body, tensors = decode(frame, most_tensors=self._limits.tensors)
        return read(Request, body, "the request"), tensors


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 9
