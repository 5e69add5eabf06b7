"""Which entry to ship, and the sentence that says why."""

from __future__ import annotations

import math
from collections.abc import Sequence

from runtimes.racing.entry import Entry, Speed
from runtimes.racing.options import Criterion

# Entries nearer than this cannot be told apart on a shared machine.
_CLOSE = 0.05

_BEST = {
    "latency": "the fastest",
    "throughput": "the one with the highest throughput",
    "memory": "the one that takes the least memory",
    "disk": "the smallest on disk",
}


def recommend(entries: Sequence[Entry], rank_by: Criterion) -> tuple[int | None, str]:
    """The place of the entry to ship among ``entries``, and a sentence with the reason.

    Among those inside the budget the best by ``rank_by``. Where others are within 5% of it, or
    their launches overlap with its, the one of them that takes fewer threads, then less disk.
    """
    able = [place for place, one in enumerate(entries) if is_able(one)]
    if not able:
        return None, _nothing(entries)
    best = min(able, key=lambda place: _cost(entries[place], rank_by))
    close = [place for place in able if _is_close(entries[place], entries[best], rank_by)]
    chosen = min(
        close,
        key=lambda p: (
            entries[p].threads or 1,
            _cost(entries[p], "disk"),
            _cost(entries[p], rank_by),
        ),
    )
    why = _why(len(able), [entries[place] for place in close if place != chosen], rank_by)
    return chosen, f"ship {entries[chosen]}: {why}; {_figures(entries[chosen], entries)}"


def is_able(entry: Entry) -> bool:
    """Whether an entry may be shipped: it is inside the budget, and ran to the end."""
    return entry.in_budget and entry.failed is None and entry.latency is not None


def _cost(entry: Entry, rank_by: Criterion) -> float:
    """What is to be small, in the unit of ``rank_by``."""
    if rank_by == "memory":
        return math.inf if entry.memory_bytes is None else float(entry.memory_bytes)
    if rank_by == "disk":
        return math.inf if entry.install_bytes is None else float(entry.disk_bytes)
    speed = _speed(entry, rank_by)
    return math.inf if speed is None else speed.p50_ms / speed.batch


def _speed(entry: Entry, rank_by: Criterion) -> Speed | None:
    return entry.at_batch or entry.latency if rank_by == "throughput" else entry.latency


def _is_close(entry: Entry, best: Entry, rank_by: Criterion) -> bool:
    cost, least = _cost(entry, rank_by), _cost(best, rank_by)
    if entry is best or cost <= least * (1 + _CLOSE):
        return True
    if rank_by in ("memory", "disk"):
        return False
    return cost * (1 - _spread(entry, rank_by)) <= least * (1 + _spread(best, rank_by))


def _spread(entry: Entry, rank_by: Criterion) -> float:
    speed = _speed(entry, rank_by)
    return 0.0 if speed is None else speed.spread or 0.0


def _why(able: int, close: Sequence[Entry], rank_by: Criterion) -> str:
    if able == 1:
        return "nothing else stays inside the budget"
    if not close:
        return f"{_BEST[rank_by]} of the {able} inside the budget"
    others = ", ".join(str(one) for one in close[:2]) + (", …" if len(close) > 2 else "")
    return (
        f"{_BEST[rank_by]} of the {able} inside the budget, or too near it to tell "
        f"({others}), and of these the one with the fewest threads and the least disk"
    )


def _figures(one: Entry, entries: Sequence[Entry]) -> str:
    """Its latency, how much faster it is than the reference, and how near to it."""
    parts = []
    if one.latency is not None:
        parts.append(f"{one.latency.p50_ms:.3g} ms at batch {one.latency.batch}")
        first = next((other for other in entries if other.is_baseline), None)
        if first is not None and first is not one and first.latency is not None:
            ratio = first.latency.p50_ms / one.latency.p50_ms
            parts.append(f"{ratio:.2f}× as fast as {first}")
    return ", ".join((*parts, _sameness(one)))


def _sameness(one: Entry) -> str:
    if one.metrics:
        found = one.metrics[0]
        return f"{found.name} {found.candidate:.4g} (the reference has {found.reference:.4g})"
    parts = [] if one.agreement is None else [f"{one.agreement:.2%} of the answers the same"]
    parts += [] if one.sqnr_db is None else [f"SQNR {one.sqnr_db:.1f} dB"]
    return ", ".join(parts) or "the outputs are the same"


def _nothing(entries: Sequence[Entry]) -> str:
    ran = sum(one.refused is None for one in entries)
    if not ran:
        return "nothing to ship: no engine runs any of the files"
    if any(one.in_budget for one in entries):
        return "nothing to ship: what is inside the budget did not run to the end"
    return (
        f"nothing to ship: none of {ran} entries stays inside the budget; widen it "
        "(--max-drop, --min-agreement, --min-sqnr), or race other files"
    )
