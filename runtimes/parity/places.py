"""Where a candidate is judged: providers and, of ONNX Runtime's, the levels of optimization."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from runtimes.engines.open_runtime import borrow
from runtimes.engines.ort import NO_SPINNING, PROVIDERS, Optimization
from runtimes.parity.candidate import Candidate


def places_of(
    providers: Sequence[str], optimizations: Sequence[Optimization]
) -> list[tuple[str, Optimization, str]]:
    """Provider, optimization level and label of each column of the matrix."""
    if not optimizations:
        raise ValueError("optimizations must name at least one level")
    places: list[tuple[str, Optimization, str]] = []
    for provider in providers:
        if provider not in PROVIDERS:  # the others have no levels
            places.append((provider, "all", provider))
            continue
        for level in optimizations:
            label = provider if len(optimizations) == 1 else f"{provider}, {level}"
            places.append((provider, level, label))
    return places


@contextmanager
def opened_at(
    candidate: Any,
    places: Sequence[tuple[str, Optimization, str]],
    threads: int | None,
    *,
    allow_fallback: bool,
) -> Iterator[list[Candidate]]:
    """The candidate at each of ``places``: provider, optimization level and label."""
    with ExitStack() as stack:
        others = []
        for provider, level, label in places:
            runtime = borrow(
                candidate,
                provider,
                threads=threads,
                config=NO_SPINNING,
                optimization=level,
                allow_fallback=allow_fallback,
            )
            others.append(Candidate(label, stack.enter_context(runtime)))
        yield others
