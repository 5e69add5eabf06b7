"""What the server asks of a monitor, and how it makes one for a bundle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from runtimes.base import Array
from runtimes.serving.options import ModelOptions
from runtimes.serving.servable import Servable


class Monitor(Protocol):
    """What compares the answers of a version with what was proven of it."""

    @property
    def uses_fp32(self) -> bool:
        """Whether the model's fp32 original has to answer in its place."""

    @property
    def capacity(self) -> float:
        """What limits are multiplied by while a slower original answers."""

    def wants(self) -> bool:
        """Whether this request is to be looked at; called for each one, so it is cheap."""

    def record(
        self,
        inputs: Mapping[str, Array],
        outputs: Mapping[str, Array],
        seconds: float,
        request_id: str | None,
        *,
        by_fp32: bool | None,
    ) -> None:
        """Look at a request, later and elsewhere: this never blocks."""

    def remember(self, request_id: str, outputs: Mapping[str, Array]) -> None:
        """Keep an answer that a label may come for."""

    def failed(self, status: int) -> None:
        """A request was answered with an error."""

    def feedback(self, request_id: str, label: Any) -> None:
        """What the answer to a request should have been."""

    def come_back(self) -> None:
        """Let the model answer again in place of its original."""

    def status(self) -> dict[str, Any]:
        """All that is known, as plain JSON."""

    def close(self) -> None:
        """Keep the state, and stop."""


RunFeed = Callable[[Mapping[str, Array]], dict[str, Array]]


def open_monitor(
    servable: Servable, options: ModelOptions, run_fp32: RunFeed | None
) -> Monitor | None:
    """The monitor of a bundle; None for files that say nothing of what was proven.

    Raises ``DataError`` where the bundle's reference or policy is not one.
    """
    if not (options.monitor and servable.source.is_bundle):
        return None
    from runtimes.monitor.model_monitor import ModelMonitor
    from runtimes.monitor.policy import Policy
    from runtimes.monitor.probe import open_probe
    from runtimes.monitor.reference import Reference

    source = servable.source
    policy = replace(Policy.from_json(dict(servable.policy)), webhook=options.webhook)
    reference = None
    if servable.reference is not None:
        reference = Reference.from_json(servable.reference.read_bytes())
    state = None
    if options.state is not None:
        options.state.mkdir(parents=True, exist_ok=True)
        state = options.state / f"{source.name}-{source.version}.json"
    return ModelMonitor(
        reference,
        policy,
        run_fp32=run_fp32,
        # Of stages, saturation is not watched: no session of this process has all of them.
        probe=None if reference is None or servable.staged else open_probe(servable.model),
        state=state,
        name=source.name,
        version=source.version,
    )
