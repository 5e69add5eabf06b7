"""One request on its way through the stages, and what is at work on it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

from runtimes.base import Array

Outputs = dict[str, Array]


@dataclass
class Request:
    """What a stage is given (``carried``), and the outputs of the model that are ``found``."""

    carried: dict[str, Array]
    future: Future[Outputs]
    found: Outputs = field(default_factory=dict)


Passed = Callable[[Request, Outputs], None]
"""Told what a stage has given; may wait until the stage behind it has room."""

Failed = Callable[[Request, Exception], None]
"""Told why a stage gives nothing."""


class AtWork(Protocol):
    """A stage that takes requests in their order."""

    def put(self, request: Request) -> None:
        """Give it a request; may wait until it has room."""
        ...

    def close(self) -> None:
        """Finish what it was given, and rest."""
        ...
