"""The picture of a race: latency to the right, accuracy upward, a mark for every entry."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from converter.report.svg_small import small_svg
from runtimes.racing.entry import Entry
from runtimes.racing.report import RaceReport

_WIDTH, _HEIGHT = 360, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 54, 14, 22, 40

RACE_STYLE = """
svg .shipped { fill: var(--good); fill-opacity: .9; } svg .inside { fill: var(--bar); }
svg .outside { fill: none; stroke: var(--bad); stroke-width: 1.8; }
svg text.number { font-size: 11px; } ol.entries { columns: 2 16rem; padding-left: 1.6rem; }
ul.reasons li, .tiles strong { overflow-wrap: anywhere; }
"""


@dataclass(frozen=True)
class _Axis:
    """What is drawn upward: its name, and each entry's value."""

    title: str
    values: Sequence[float]


def latency_and_accuracy(report: RaceReport) -> str:
    """The picture with its numbered entries; empty where nothing was timed."""
    shown = [
        (one, place == report.recommended)
        for place, one in enumerate(report.entries)
        if one.latency is not None
    ]
    if not shown:
        return ""
    entries = [one for one, _ in shown]
    axis = _axis(entries)
    times = [one.latency.p50_ms for one in entries if one.latency is not None]
    low, high = _span(times)
    bottom, top = _reach(axis)

    def place(time: float, value: float) -> tuple[float, float]:
        across = (math.log(time) - low) / (high - low)
        up = (value - bottom) / (top - bottom)
        return (
            _LEFT + across * (_WIDTH - _LEFT - _RIGHT),
            _HEIGHT - _BOTTOM - up * (_HEIGHT - _TOP - _BOTTOM),
        )

    parts = _frame(axis, (low, high), (bottom, top))
    marks: list[tuple[float, float]] = []
    for number, ((one, shipped), time, value) in enumerate(
        zip(shown, times, axis.values, strict=True), start=1
    ):
        x, y = place(time, value)
        kind = "shipped" if shipped else "inside" if one.in_budget else "outside"
        parts.append(
            f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{7 if shipped else 5}"><title>'
            f"{escape(_told(one, axis, value))}</title></circle>"
            f'<text class="number" x="{x:.1f}" y="{_beside(x, y, marks):.1f}" '
            f'text-anchor="middle">{number}</text>'
        )
        marks.append((x, y))
    title = f"{axis.title} against the latency of {len(shown)} entries"
    items = "".join(
        f"<li>{escape(_told(one, axis, value))}{' <strong>ship</strong>' if shipped else ''}</li>"
        for (one, shipped), value in zip(shown, axis.values, strict=True)
    )
    return f'{small_svg(_HEIGHT, title, "".join(parts))}<ol class="entries">{items}</ol>'


def _beside(x: float, y: float, marks: Sequence[tuple[float, float]]) -> float:
    """Where a mark's number stands: above it, or below where others are near."""
    near = sum(abs(x - a) < 14 and abs(y - b) < 14 for a, b in marks)
    return y + 18 if near % 2 else y - 9


def _axis(entries: Sequence[Entry]) -> _Axis:
    """The metric of the labels, else agreement, else SQNR: the first that all entries have."""
    if all(one.metrics for one in entries):
        name = entries[0].metrics[0].name
        return _Axis(name, [one.metrics[0].candidate for one in entries])
    if all(one.agreement is not None for one in entries):
        return _Axis("agreement in %", [100 * (one.agreement or 0.0) for one in entries])
    # Without noise there is no ratio to it: as good as the best that has some, and a little more.
    known = [one.sqnr_db for one in entries if one.sqnr_db is not None]
    best = max(known, default=0.0) + 10
    worst = min([0.0, *known])
    values = [
        one.sqnr_db if one.sqnr_db is not None else best if one.in_budget else worst
        for one in entries
    ]
    return _Axis("SQNR in dB", values)


def _span(times: Sequence[float]) -> tuple[float, float]:
    low, high = math.log(min(times)), math.log(max(times))
    spare = 0.08 * (high - low) or 0.2
    return low - spare, high + spare


def _reach(axis: _Axis) -> tuple[float, float]:
    low, high = min(axis.values), max(axis.values)
    spare = 0.12 * (high - low) or 0.05 * abs(high) or 1.0
    return low - spare, high + spare


def _frame(axis: _Axis, times: tuple[float, float], values: tuple[float, float]) -> list[str]:
    base, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    parts = [f'<text x="4" y="12">{escape(axis.title)}</text>']
    for share in (0.0, 0.5, 1.0):
        y = base - share * (base - _TOP)
        value = values[0] + share * (values[1] - values[0])
        parts.append(
            f'<line class="axis" x1="{_LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>'
            f'<text class="small" x="{_LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">'
            f"{value:.4g}</text>"
        )
        x = _LEFT + share * (right - _LEFT)
        time = math.exp(times[0] + share * (times[1] - times[0]))
        anchor = {0.0: "start", 0.5: "middle", 1.0: "end"}[share]
        parts.append(
            f'<text class="small" x="{x:.1f}" y="{base + 16}" text-anchor="{anchor}">'
            f"{time:.3g}</text>"
        )
    parts.append(
        f'<text class="small" x="{(_LEFT + right) / 2}" y="{_HEIGHT - 6}" text-anchor="middle">'
        "ms a run, logarithmic; left and up is better</text>"
    )
    return parts


def _told(one: Entry, axis: _Axis, value: float) -> str:
    time = "" if one.latency is None else f"{one.latency.p50_ms:.3g} ms"
    state = "" if one.in_budget else ", outside the budget"
    return f"{one.file} on {one.place}: {time}, {axis.title} {value:.4g}{state}"
