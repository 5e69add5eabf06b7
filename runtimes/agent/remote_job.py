"""A job on a device, as a client has it: asked one thing after the other, through broken links."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Any, TypeVar

from runtimes.agent.errors_sent import error_of
from runtimes.agent.link import Link
from runtimes.agent.messages import ModelFiles, Request, Told
from runtimes.agent.parts import ModelParts
from runtimes.agent.protocol import decode, encode, json_of, told_of
from runtimes.agent.typed_json import read
from runtimes.base import Array, Feed
from runtimes.errors import KilnxError, RuntimeUnavailable
from runtimes.json_values import plain

# Parts may be thrown away on the device between being sent and being used, but not again and again.
_MOST_TIMES = 5
# A job that was lost, with the device or its agent, is started again so often for one request.
_MOST_STARTS = 3
_PATIENCE_AT_THE_END = 1.0


T = TypeVar("T")


class _Lost(Exception):
    """The agent knows the job no more."""


class RemoteJob:
    """A process on the device; use ``ask``, then ``end``.

    ``prepare`` is called for each process that is started, with a function that asks it: what a
    request relies on, such as an open model, is there again after the agent was started anew.
    """

    def __init__(self, link: Link, prepare: Callable[[RemoteJob], object] | None = None) -> None:
        self._link, self._prepare = link, prepare
        self._name: str | None = None
        self._number = 0
        self._sent: set[str] = set()

    def ask(
        self,
        operation: str,
        options: object = None,
        tensors: Feed | None = None,
        models: Sequence[ModelParts] = (),
    ) -> tuple[Any, dict[str, Array]]:
        """The answer: a document and arrays; raises the error that the device tells.

        Raises ``RuntimeUnavailable`` where it cannot be reached, or does not do what it should.
        """
        files = tuple(model.files for model in models)
        request = plain(Request(operation, files, plain(options)))
        with self._link.understanding():
            frame = encode(request, tensors)
        return self._persistently(lambda: self._answered(frame, models))

    def end(self) -> None:
        """End the process; a device that is gone has ended it, or will."""
        name, self._name = self._name, None
        if name is not None:
            with suppress(KilnxError):
                self._link.request("DELETE", f"/v1/jobs/{name}", patience=_PATIENCE_AT_THE_END)

    def ask_now(
        self, operation: str, options: object, models: Sequence[ModelParts]
    ) -> tuple[Any, dict[str, Array]]:
        """The same in the process that is there, for ``prepare``."""
        files: tuple[ModelFiles, ...] = tuple(model.files for model in models)
        return self._answered(encode(plain(Request(operation, files, plain(options)))), models)

    def start(self) -> None:
        """Start the process, unless it is there; ``ask`` does so by itself."""
        self._persistently(lambda: None)

    def _persistently(self, action: Callable[[], T]) -> T:
        """What ``action`` gives in a process, if need be in a new one."""
        for _ in range(_MOST_STARTS):
            try:
                self._start()
                return action()
            except _Lost:
                self.end()
        raise RuntimeUnavailable(
            f"the agent on {self._link.address} lost what it was doing {_MOST_STARTS} times"
        )

    def _start(self) -> None:
        if self._name is not None:
            return
        name = secrets.token_hex(16)
        self._name, self._number = name, 0
        self._link.request("PUT", f"/v1/jobs/{name}")
        if self._prepare is not None:
            self._prepare(self)

    def _answered(self, frame: bytes, models: Sequence[ModelParts]) -> tuple[Any, dict[str, Array]]:
        self._send_parts(models, [d for model in models for d in model.content])
        for _ in range(_MOST_TIMES):
            with self._link.understanding():
                body, tensors = self._exchanged(frame)
                answer = read(dict[str, Any], body, "the answer")
                if "ok" in answer:
                    return answer["ok"], tensors
                if "error" in answer:
                    told = read(Told, answer["error"], "the error")
                    raise error_of(told, str(self._link.address))
                missing = read(tuple[str, ...], answer.get("missing"), "the missing parts")
            self._sent.difference_update(missing)
            self._send_parts(models, missing)
        raise RuntimeUnavailable(
            f"the agent on {self._link.address} cannot keep the model; start it with a larger "
            "--max-cache"
        )

    def _exchanged(self, frame: bytes) -> tuple[Any, dict[str, Array]]:
        """Send a request, and wait for its answer."""
        path = f"/v1/jobs/{self._name}/{self._number + 1}"
        status, found = self._link.request("POST", path, frame)
        if status is HTTPStatus.CONFLICT:  # it was not begun
            return json_of(found), {}
        while status is HTTPStatus.ACCEPTED:
            status, found = self._link.request("GET", path)
        if status is not HTTPStatus.OK:
            raise _Lost
        self._number += 1
        return decode(found)

    def _send_parts(self, models: Sequence[ModelParts], digests: Iterable[str]) -> None:
        """Send those of the parts that the device does not have."""
        unsure = [digest for digest in digests if digest not in self._sent]
        if not unsure:
            return
        content: Mapping[str, memoryview] = {d: p for m in models for d, p in m.content.items()}
        body = told_of({"parts": unsure})
        _, found = self._link.request("POST", "/v1/missing", body)
        with self._link.understanding():
            document = read(dict[str, tuple[str, ...]], json_of(found), "the missing parts")
        for digest in document.get("missing", ()):
            if digest in content:
                self._link.request("PUT", f"/v1/parts/{digest}", content[digest])
        self._sent.update(unsure)
