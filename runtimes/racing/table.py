"""The table of a race: one row an entry, in 80 columns."""

from __future__ import annotations

from collections.abc import Sequence

from runtimes.racing.entry import Entry, Speed

_WIDTH = 80
_BETWEEN = 2
_SHORTEST_FILE = 6
_UNKNOWN = "–"


def table_rows(entries: Sequence[Entry], recommended: int | None) -> list[dict[str, str]]:
    """Formatted cells by column; names of files are cut so that a row fits 80 columns.

    The row that is recommended has a star; ``MB`` is memory, ``disk`` file and engine in MB.
    """
    rows = [
        {
            "file": one.file,
            "engine": f"{one.place}{' *' if place == recommended else ''}",
            _accuracy_title(entries): accuracy(one),
            "ok": _verdict(one),
            "ms": _latency(one.latency),
            _batch(entries): _throughput(one.at_batch or one.latency),
            "MB": _mega(one.memory_bytes),
            "load": _UNKNOWN if one.load_ms is None else f"{one.load_ms / 1e3:.2f}",
            "disk": _mega(one.disk_bytes if one.install_bytes is not None else None),
        }
        for place, one in enumerate(entries)
    ]
    room = _WIDTH - sum(_widths(rows)[1:]) - _BETWEEN * (len(rows[0]) - 1) if rows else _WIDTH
    for row in rows:
        row["file"] = cut(row["file"], max(room, _SHORTEST_FILE))
    return rows


def accuracy(entry: Entry) -> str:
    """The metric of the labels where there is one; else agreement, else SQNR."""
    if entry.refused is not None:
        return _UNKNOWN
    if entry.metrics:
        return f"{entry.metrics[0].candidate:.4g}"
    if entry.agreement is not None:
        return f"{entry.agreement:.1%}"
    if entry.sqnr_db is not None:
        return f"{entry.sqnr_db:.0f} dB"
    return "equal" if entry.in_budget else _UNKNOWN


def _accuracy_title(entries: Sequence[Entry]) -> str:
    """The metric's name, as far as it is short; ``same`` for agreement and SQNR."""
    names = {one.metrics[0].name.partition(":")[0] for one in entries if one.metrics}
    return cut(names.pop(), 8) if len(names) == 1 else "same"


def cut(name: str, most: int) -> str:
    """``name`` with its middle left out where it is too long."""
    if len(name) <= most:
        return name
    behind = (most - 1) // 2
    return f"{name[: most - 1 - behind]}…{name[len(name) - behind :]}"


def _verdict(entry: Entry) -> str:
    if entry.refused is not None:
        return "not run"
    return "failed" if entry.failed is not None else "yes" if entry.in_budget else "NO"


def _latency(speed: Speed | None) -> str:
    if speed is None:
        return _UNKNOWN
    spread = "" if speed.spread is None else f"±{speed.spread:.0%}"
    return f"{speed.p50_ms:.3g}{spread}" if speed.p50_ms < 1000 else f"{speed.p50_ms:.0f}{spread}"


def _batch(entries: Sequence[Entry]) -> str:
    sizes = {one.at_batch.batch for one in entries if one.at_batch is not None}
    return f"/s @{max(sizes)}" if sizes else "/s"


def _throughput(speed: Speed | None) -> str:
    if speed is None:
        return _UNKNOWN
    value = speed.throughput
    return (
        f"{value / 1000:.3g}k"
        if value >= 9999.5
        else f"{value:.3g}"
        if value < 100
        else f"{value:.0f}"
    )


def _mega(size: int | None) -> str:
    if size is None:
        return _UNKNOWN
    return f"{size / 1e6:.1f}" if size < 9.95e6 else f"{size / 1e6:.0f}"


def _widths(rows: Sequence[dict[str, str]]) -> list[int]:
    return [max(len(column), *(len(row[column]) for row in rows)) for column in rows[0]]
