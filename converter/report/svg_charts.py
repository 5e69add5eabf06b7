"""Charts as SVG text; the page's style sets their colours for light and dark mode."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from converter.report.svg_small import SMALL_WIDTH, small_svg

_WIDTH = 900

CHART_STYLE = """
svg { display: block; width: 100%; height: auto; margin: .6rem 0; }
svg text { fill: var(--ink); font-size: 13px; font-family: inherit; }
.scroll > svg { min-width: 40rem; }
@media print { .scroll > svg { min-width: 0; } }
svg text.small { font-size: 11px; fill: var(--quiet); }
svg .axis { stroke: var(--line); stroke-width: 1; fill: none; }
svg .roof { stroke: var(--ink); stroke-width: 1.5; fill: none; }
svg .first { fill: var(--bar); } svg .second { fill: var(--other); }
svg .blame { fill: var(--bad); }
svg line.first, svg polyline.first { stroke: var(--bar); fill: none; stroke-width: 1.6; }
svg line.second, svg polyline.second { stroke: var(--other); fill: none; stroke-width: 1.6; }
svg circle { fill-opacity: .75; }
svg .allowed { fill: var(--bar); fill-opacity: .18; }
"""


@dataclass(frozen=True)
class Pair:
    """Two values next to a label, the first None where there is none, and the least allowed.

    ``text`` stands behind them; ``blamed``: the second one is not allowed.
    """

    label: str
    first: float | None
    second: float
    allowed: float
    text: str
    blamed: bool = False


@dataclass(frozen=True)
class Point:
    """A point of a scatter plot: position, name for the tooltip, area by ``weight`` (0…1)."""

    x: float
    y: float
    name: str
    weight: float
    kind: str


def legend(names: Sequence[str]) -> str:
    """The two series' colours and names."""
    return (
        '<p class="legend">'
        + " ".join(
            f'<span class="key {kind}"></span>{escape(name)}'
            for name, kind in zip(names, ("first", "second"), strict=False)
        )
        + "</p>"
    )


def lines(
    labels: Sequence[str],
    series: Sequence[Sequence[float | None]],
    names: tuple[str, str],
    unit: str,
    blamed: Sequence[int] = (),
) -> str:
    """Two series over labelled positions; ``blamed`` positions are marked."""
    known = [value for one in series for value in one if value is not None]
    if not known:
        return '<p class="soft">nothing differs</p>'
    height, left, bottom = 300, 60, 40
    low, high = min([0.0, *known]), max(known) or 1.0
    across = (_WIDTH - left - 20) / max(len(labels) - 1, 1)

    def place(i: int, value: float) -> tuple[float, float]:
        share = (value - low) / ((high - low) or 1.0)
        return left + i * across, height - bottom - share * (height - bottom - 20)

    parts = [_grid((low, high), (height, left, bottom), unit)]
    for one, kind, name in zip(series, ("first", "second"), names, strict=True):
        points = [(i, value) for i, value in enumerate(one) if value is not None]
        path = " ".join("{:.1f},{:.1f}".format(*place(i, value)) for i, value in points)
        parts.append(f'<polyline class="{kind}" points="{path}"/>')
        for i, value in points:
            x, y = place(i, value)
            mark = "blame" if i in blamed else kind
            parts.append(
                f'<circle class="{mark}" cx="{x:.1f}" cy="{y:.1f}" r="{5 if i in blamed else 3}">'
                f"<title>{escape(labels[i])}, {escape(name)}: {value:.1f} {unit}</title></circle>"
            )
    step = max(1, math.ceil(len(labels) / 6))
    for i in range(0, len(labels), step):
        x, _ = place(i, low)
        anchor = "start" if i == 0 else "middle"
        parts.append(
            f'<text class="small" x="{x:.1f}" y="{height - 12}" text-anchor="{anchor}">'
            f"{escape(_short(labels[i], 20))}</text>"
        )
    title = f"{names[0]} and {names[1]}, in {unit}, layer by layer"
    return legend(names) + _svg(height, "".join(parts), title)


def dots(rows: Sequence[Pair], names: tuple[str, str], *, up: bool = True) -> str:
    """Two dots a row on one axis, over the band of what is allowed: more, or else less."""
    values = [v for one in rows for v in (one.first, one.second, one.allowed) if v is not None]
    if not values:
        return '<p class="soft">not measured</p>'
    low, high = min(values), max(values)
    spare = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    low, high = low - spare, high + spare
    left, room = 4, SMALL_WIDTH - 8

    def place(value: float) -> float:
        return left + (value - low) / (high - low) * room

    parts = []
    for i, one in enumerate(rows):
        middle, edge = 42 * i + 28, place(one.allowed)
        start, end = (edge, left + room) if up else (left, edge)
        shown = [("first", one.first), ("blame" if one.blamed else "second", one.second)]
        parts.append(
            f'<text x="{left}" y="{middle - 14}">{escape(_short(one.label))}</text>'
            f'<text x="{left + room}" y="{middle - 14}" text-anchor="end">{escape(one.text)}</text>'
            f'<rect class="allowed" x="{start:.1f}" y="{middle - 9}" '
            f'width="{max(end - start, 0):.1f}" height="18"/>'
            f'<line class="axis" x1="{left}" y1="{middle}" x2="{left + room}" y2="{middle}"/>'
        )
        for (kind, value), name in zip(shown, names, strict=True):
            if value is not None:
                parts.append(
                    f'<circle class="{kind}" cx="{place(value):.1f}" cy="{middle}" r="6"><title>'
                    f"{escape(one.label)}, {escape(name)}: {value:.4g}</title></circle>"
                )
    bottom = 42 * len(rows) + 14
    for share, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        parts.append(
            f'<text class="small" x="{left + share * room:.1f}" y="{bottom}" '
            f'text-anchor="{anchor}">{low + share * (high - low):.3g}</text>'
        )
    title = f"{names[0]} and {names[1]}, row by row"
    return legend(names) + small_svg(bottom + 6, title, "".join(parts))


def histogram(edges: Sequence[float], counts: Sequence[int], title: str = "errors") -> str:
    """Columns between ``edges``, with logarithmic counts because errors have long tails."""
    height, left, bottom = 160, 46, 30
    top = math.log10(max(counts) + 1) or 1.0
    width = (SMALL_WIDTH - left - 8) / len(counts)
    parts = []
    for i, count in enumerate(counts):
        tall = math.log10(count + 1) / top * (height - bottom - 20)
        parts.append(
            f'<rect class="first" x="{left + i * width:.1f}" y="{height - bottom - tall:.1f}" '
            f'width="{max(width - 1, 1):.1f}" height="{tall:.1f}">'
            f"<title>{edges[i]:.3g} to {edges[i + 1]:.3g}: {count:,}</title></rect>"
        )
    for share, value in ((0.0, edges[0]), (0.5, (edges[0] + edges[-1]) / 2), (1.0, edges[-1])):
        x = left + share * width * len(counts)
        anchor = {0.0: "start", 0.5: "middle", 1.0: "end"}[share]
        parts.append(
            f'<text class="small" x="{x:.1f}" y="{height - 10}" text-anchor="{anchor}">'
            f"{value:.3g}</text>"
        )
    base = height - bottom
    parts.append(f'<line class="axis" x1="{left}" y1="{base}" x2="{SMALL_WIDTH - 8}" y2="{base}"/>')
    parts.append(
        f'<text class="small" x="{left - 6}" y="26" text-anchor="end">{max(counts):,}</text>'
    )
    return small_svg(height, f"How often {title} of each size occur", "".join(parts))


def roofline(
    points: Sequence[Point], gflops: float, gigabytes: float, names: tuple[str, str]
) -> str:
    """Operations per byte and per second, both logarithmic, with the measured roofline."""
    shown = [point for point in points if point.x > 0 and point.y > 0]
    if not shown:
        return '<p class="soft">no operator computes</p>'
    height, left, bottom = 380, 70, 40
    ridge = gflops / gigabytes
    x_low = _decade(min(*(p.x for p in shown), ridge), math.floor)
    x_high = _decade(max(*(p.x for p in shown), ridge * 10), math.ceil)
    y_low = _decade(min(p.y for p in shown), math.floor)
    y_high = _decade(max(*(p.y for p in shown), gflops), math.ceil)

    def place(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - x_low) / ((x_high - x_low) or 1)
        up = (math.log10(y) - y_low) / ((y_high - y_low) or 1)
        return left + across * (_WIDTH - left - 20), height - bottom - up * (height - bottom - 20)

    parts = []
    for exponent in range(x_low, x_high + 1):
        x, _ = place(10.0**exponent, 10.0**y_low)
        parts.append(
            f'<line class="axis" x1="{x:.1f}" y1="20" x2="{x:.1f}" y2="{height - bottom}"/>'
            f'<text class="small" x="{x:.1f}" y="{height - 22}" text-anchor="middle">'
            f"{10.0**exponent:g}</text>"
        )
    for exponent in range(y_low, y_high + 1):
        _, y = place(10.0**x_low, 10.0**exponent)
        parts.append(
            f'<line class="axis" x1="{left}" y1="{y:.1f}" x2="{_WIDTH - 20}" y2="{y:.1f}"/>'
            f'<text class="small" x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">'
            f"{10.0**exponent:g}</text>"
        )
    start_x = max(10.0**x_low, 10.0**y_low / gigabytes)
    corners = [
        place(start_x, start_x * gigabytes),
        place(ridge, gflops),
        place(10.0**x_high, gflops),
    ]
    parts.append(
        '<polyline class="roof" points="' + " ".join(f"{x:.1f},{y:.1f}" for x, y in corners) + '"/>'
    )
    for point in sorted(shown, key=lambda one: -one.weight):
        x, y = place(point.x, point.y)
        parts.append(
            f'<circle class="{point.kind}" cx="{x:.1f}" cy="{y:.1f}" '
            f'r="{3 + 14 * math.sqrt(point.weight):.1f}"><title>{escape(point.name)}</title>'
            "</circle>"
        )
    parts.append(
        f'<text class="small" x="{_WIDTH / 2}" y="{height - 4}" text-anchor="middle">'
        "operations per byte</text>"
        f'<text class="small" x="{left + 4}" y="14">GFLOP/s</text>'
    )
    return legend(names) + _svg(height, "".join(parts), "Roofline of the operators")


def _grid(span: tuple[float, float], frame: tuple[int, int, int], unit: str) -> str:
    (low, high), (height, left, bottom) = span, frame
    parts = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = height - bottom - share * (height - bottom - 20)
        value = low + share * (high - low)
        parts.append(
            f'<line class="axis" x1="{left}" y1="{y:.1f}" x2="{_WIDTH - 20}" y2="{y:.1f}"/>'
            f'<text class="small" x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">'
            f"{value:.0f} {unit}</text>"
        )
    return "".join(parts)


def _decade(value: float, rounded: object) -> int:
    return int(rounded(math.log10(value)))  # type: ignore[operator]


def _short(text: str, most: int = 32) -> str:
    return text if len(text) <= most else f"{text[: most // 2 - 1]}…{text[-most // 2 :]}"


def _svg(height: float, body: str, title: str) -> str:
    """A wide chart that scrolls by itself where the page is narrow, and has a name."""
    name = escape(title)
    return (
        f'<div class="scroll" role="region" aria-label="{name}" tabindex="0">'
        f'<svg viewBox="0 0 {_WIDTH} {height:g}" role="img" aria-label="{name}">'
        f"<title>{name}</title>{body}</svg></div>"
    )
