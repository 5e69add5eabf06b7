"""Inference requests that are answered where they arrive.

ASGI makes a scope, a task and three messages of each request, which costs more than a small model.
A plain request for a model whose body is there needs none of them. All else goes through ASGI
(``runtimes.serving.app``), and both answer by the same rules.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from runtimes.base import Array
from runtimes.serving.access import Access
from runtimes.serving.errors import ClientLeft
from runtimes.serving.exchange import Asked, Headers
from runtimes.serving.infer import InferHandler, Parts
from runtimes.serving.prepared import Prepared
from runtimes.serving.version import Begun

Target = tuple[str, str | None]
"""A model, and which version of it, None for the newest."""

Chunks = Sequence[bytes | memoryview]
Done = Callable[[int, Headers, Chunks], None]
"""Takes status, headers and the parts of the body of an answer."""

Failure = Callable[[Asked, Exception], tuple[int, Headers, bytes]]


class DirectAnswers:
    """Answers requests for models.

    ``failure`` turns what a request raised into its answer.
    """

    def __init__(self, infer: InferHandler, access: Access, failure: Failure) -> None:
        self._infer, self._access, self._failure = infer, access, failure

    def answer(self, target: Target, asked: Asked, body: bytes, done: Done) -> None:
        """Answer a request: ``done`` is called now, or when what it waits for is there."""
        try:
            self._access.check(asked)
            begun, prepared = self._infer.begin(*target, asked, body)
            if begun.future is None:
                parts = self._infer.finish(begun, prepared, begun.outputs)
        except Exception as error:
            self._fail(asked, error, done)
            return
        if begun.future is None:
            done(200, *parts)
        else:
            begun.future.add_done_callback(partial(self._continue, begun, prepared, asked, done))

    def _continue(
        self,
        begun: Begun,
        prepared: Prepared | None,
        asked: Asked,
        done: Done,
        future: asyncio.Future[Sequence[Array]],
    ) -> None:
        try:
            parts = self._outputs(begun, prepared, future)
        except Exception as error:
            self._fail(asked, error, done)
        else:
            done(200, *parts)

    def _outputs(
        self, begun: Begun, prepared: Prepared | None, future: asyncio.Future[Any]
    ) -> Parts:
        try:
            outputs = future.result()
        except Exception as error:
            begun.version.failed(begun.job.arrived, error)
            raise
        return self._infer.finish(begun, prepared, outputs)

    def _fail(self, asked: Asked, error: Exception, done: Done) -> None:
        if isinstance(error, ClientLeft):
            done(error.status, [], [])
            return
        status, headers, body = self._failure(asked, error)
        done(status, headers, [body])
