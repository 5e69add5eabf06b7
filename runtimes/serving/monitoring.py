"""What the server asks of a monitor, and how it makes one for a bundle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from runtimes.base import Array


class Monitor(Protocol):
    """What compares the answers of a version with what was proven of it."""

    @property
    def uses_fp32(self) -> bool:
        """Whether the model's fp32 original has to answer in its place."""

    def wants(self) -> bool:
        """Whether this request is to be looked at; called for each one, so it is cheap."""

    def record(
        self,
        inputs: Mapping[str, Array],
        outputs: Mapping[str, Array],
        seconds: float,
        request_id: str | None,
    ) -> None:
        """Look at a request, later and elsewhere: this never blocks."""

    def failed(self, status: int) -> None:
        """A request was answered with an error."""

    def feedback(self, request_id: str, label: Any) -> None:
        """What the answer to a request should have been."""

    def status(self) -> dict[str, Any]:
        """All that is known, as plain JSON."""

    def close(self) -> None:
        """Keep the state, and stop."""


RunFeed = Callable[[dict[str, Array]], dict[str, Array]]
