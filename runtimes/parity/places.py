"""Where a candidate is judged: every provider at every optimization level, here or on a device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from runtimes.engines.elsewhere import Elsewhere
from runtimes.engines.open_runtime import borrow
from runtimes.engines.ort import NO_SPINNING, PROVIDERS, Optimization
from runtimes.parity.candidate import Candidate


@dataclass(frozen=True)
class Place:
    """A column of the matrix: provider, optimization level and how both are called together."""

    provider: str
    optimization: Optimization
    label: str


class Where(Protocol):
    """The options that every place shares."""

    @property
    def allow_fallback(self) -> bool:
        """Whether nodes may run elsewhere than on the provider."""
        ...

    @property
    def device(self) -> Elsewhere | None:
        """Where the candidate runs in place of this machine."""
        ...


def places_of(providers: Sequence[str], optimizations: Sequence[Optimization]) -> list[Place]:
    """All places; raises ``ValueError`` where no level is named."""
    if not optimizations:
        raise ValueError("optimizations must name at least one level")
    places = []
    for provider in providers:
        if provider not in PROVIDERS:  # the others have no levels
            places.append(Place(provider, "all", provider))
            continue
        for level in optimizations:
            label = provider if len(optimizations) == 1 else f"{provider}, {level}"
            places.append(Place(provider, level, label))
    return places


@contextmanager
def opened_at(
    places: Sequence[Place], candidate: Any, where: Where, threads: int | None
) -> Iterator[list[Candidate]]:
    """Yield the candidate at each of ``places``."""
    with ExitStack() as stack:
        others = []
        for place in places:
            runtime = borrow(
                candidate,
                place.provider,
                threads=threads,
                config=NO_SPINNING,
                optimization=place.optimization,
                allow_fallback=where.allow_fallback,
                device=where.device,
            )
            others.append(Candidate(place.label, stack.enter_context(runtime)))
        yield others
