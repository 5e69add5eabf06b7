"""Charts that are read at the width of a telephone: budget bar, trade-off, confusion, treemap."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from converter.report.report import Judged
from converter.report.weights_by_layer import LayerWeights

SMALL_WIDTH = _WIDTH = 360
"""Units of these charts' width."""

SMALL_STYLE = """
svg.small-chart { max-width: 28rem; } svg.small-chart text { font-size: 12px; }
svg .room { fill: var(--soft); stroke: var(--line); } svg .spent { fill: var(--good); }
svg .spent.over { fill: var(--bad); } svg .limit { stroke: var(--bad); stroke-width: 2; }
svg .whisker { stroke: var(--ink); stroke-width: 1.5; fill: none; }
svg .ring { fill: none; stroke: var(--bar); stroke-width: 1.5; }
svg .ring.refused { stroke: var(--bad); } svg .dot { fill: var(--good); fill-opacity: .7; }
svg .cell { stroke: var(--paper); } svg .series { fill: none; stroke: var(--bar); }
svg .eight { fill: #b7d7c1; } svg .more { fill: #c3d5ea; } svg .eight, svg .more {
  stroke: var(--paper); } svg text.inside { fill: #1c1e21; }
"""


@dataclass(frozen=True)
class Trial:
    """Something that was tried: its time and its size as shares of fp32's, and what it loses."""

    name: str
    share: float
    loss: float | None
    size: float
    kept: bool
    measured: bool


def small_svg(height: float, title: str, body: str) -> str:
    """An SVG of 360 units' width that a screen reader calls ``title``."""
    name = escape(title)
    return (
        f'<svg class="small-chart" viewBox="0 0 {_WIDTH} {height:g}" role="img" '
        f'aria-label="{name}"><title>{name}</title>{body}</svg>'
    )


def number(value: float) -> str:
    """A loss as the rest of the report writes it, to four decimals unless it is tiny or large."""
    return f"{round(value, 4):g}" if 1e-3 <= abs(value) < 10 else f"{value:.4g}"


def budget_bar(judged: Judged) -> str:
    """The loss and its interval on a bar that ends at what is allowed."""
    ends = [judged.drop, judged.allowed, judged.low or 0.0, judged.high or 0.0, 0.0]
    low, high = min(ends), max(*ends, 1e-12)
    reach = (high - low) or 1.0

    def x(value: float) -> float:
        return 10 + (value - low) / reach * (_WIDTH - 20)

    start, end = sorted((x(0.0), x(judged.drop)))
    over = " over" if judged.drop > judged.allowed else ""
    parts = [
        f'<text x="10" y="14">{escape(judged.metric)}: {number(judged.drop)} lost, '
        f"{number(judged.allowed)} allowed</text>",
        f'<rect class="room" x="{x(0.0):.1f}" y="24" width="{x(judged.allowed) - x(0.0):.1f}" '
        'height="22" rx="3"/>',
        f'<rect class="spent{over}" x="{start:.1f}" y="24" width="{max(end - start, 2):.1f}" '
        'height="22" rx="3"/>',
        f'<line class="limit" x1="{x(judged.allowed):.1f}" y1="20" x2="{x(judged.allowed):.1f}" '
        'y2="50"/>',
    ]
    told = ""
    if judged.low is not None and judged.high is not None:
        a, b = x(judged.low), x(judged.high)
        interval = f"95% interval {number(judged.low)} to {number(judged.high)}"
        parts.append(
            f'<path class="whisker" d="M{a:.1f} 30v10M{a:.1f} 35H{b:.1f}M{b:.1f} 30v10"/>'
            f'<text x="10" y="64">{interval}</text>'
        )
        told = f", {interval}"
    lost = f"{number(judged.drop)} lost of {number(judged.allowed)} allowed"
    title = f"{judged.metric}: {lost}{told}"
    return small_svg(70 if told else 52, title, "".join(parts))


def trade_off(trials: Sequence[Trial], allowed: float, loss: str) -> str:
    """Loss upward against time to the right, as shares of fp32's; the area is the size."""
    height, left, bottom = 240, 52, 34
    losses = [one.loss or 0.0 for one in trials]
    top = min(max(*losses, allowed) * 1.1, max(allowed * 4, sorted(losses)[len(losses) // 2]))
    low = min(0.0, *losses)
    right = max(1.05, *(one.share for one in trials))

    def place(share: float, lost: float) -> tuple[float, float]:
        up = (min(lost, top) - low) / ((top - low) or 1.0)
        return (
            left + share / right * (_WIDTH - left - 12),
            height - bottom - up * (height - bottom - 16),
        )

    _, limit = place(0, allowed)
    _, zero = place(0, 0.0)
    parts = [
        f'<line class="axis" x1="{left}" y1="{zero:.1f}" x2="{_WIDTH - 12}" y2="{zero:.1f}"/>',
        f'<line class="limit" x1="{left}" y1="{limit:.1f}" x2="{_WIDTH - 12}" y2="{limit:.1f}"/>',
        f'<text x="{_WIDTH - 12}" y="{limit - 4:.1f}" text-anchor="end">allowed</text>',
        f'<text x="{left - 4}" y="{limit + 4:.1f}" text-anchor="end">{allowed:.3g}</text>',
        f'<text x="{left - 4}" y="{zero + 4:.1f}" text-anchor="end">0</text>',
        *([_top(left, top)] if limit > 40 else ()),
        f'<text x="{left + 4}" y="11">{escape(loss)}</text>',
    ]
    for share in (0.0, 0.5, 1.0):
        x, _ = place(share, 0.0)
        parts.append(f'<text x="{x:.1f}" y="{height - 18}" text-anchor="middle">{share:g}</text>')
    parts.append(
        f'<text x="{_WIDTH / 2}" y="{height - 3}" text-anchor="middle">time of fp32</text>'
    )
    for one in sorted(trials, key=lambda one: -one.size):
        x, y = place(one.share, one.loss or 0.0)
        radius = (4 + 10 * math.sqrt(one.size)) if one.measured else 4.0
        kind = "dot" if one.kept else "ring"
        refused = " refused" if not one.kept and (one.loss or 0.0) > allowed else ""
        parts.append(
            f'<circle class="{kind}{refused}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"><title>'
            f"{escape(one.name)}: {one.share:.2f} of the time, {one.size:.2f} of the size, "
            f"{one.loss:.4g} lost</title></circle>"
        )
    title = f"{len(trials)} trials: {loss} against the share of fp32's time"
    return small_svg(height, title, "".join(parts))


def _top(left: int, value: float) -> str:
    """The number at the upper end of the axis."""
    return f'<text x="{left - 4}" y="20" text-anchor="end">{value:.2g}</text>'


def confusion(counts: Sequence[Sequence[int]], names: Sequence[str], title: str) -> str:
    """Classes downward, answers to the right; the darker, the larger the share of the row."""
    size = len(counts)
    cell = (_WIDTH - 60) / size
    parts = []
    for row, (own, name) in enumerate(zip(counts, names, strict=True)):
        total = sum(own) or 1
        y = 22 + row * cell
        parts.append(
            f'<text x="54" y="{y + cell / 2 + 4:.1f}" text-anchor="end">{escape(name[:8])}</text>'
        )
        for column, count in enumerate(own):
            kind = "spent" if row == column else "spent over"
            x = 60 + column * cell
            parts.append(
                f'<rect class="cell {kind}" fill-opacity="{0.06 + 0.4 * count / total:.2f}" '
                f'x="{x:.1f}" y="{y:.1f}" width="{cell:.1f}" height="{cell:.1f}"><title>'
                f"{escape(name)} answered {escape(names[column])}: {count}</title></rect>"
            )
            if count and cell >= 20:
                parts.append(
                    f'<text x="{x + cell / 2:.1f}" y="{y + cell / 2 + 4:.1f}" '
                    f'text-anchor="middle">{count}</text>'
                )
    wrong = sum(sum(own) - own[row] for row, own in enumerate(counts))
    parts.append(f'<text x="60" y="14">{escape(title)}: {wrong} wrong</text>')
    return small_svg(22 + cell * size + 4, f"Confusion of {title}, {wrong} wrong", "".join(parts))


def treemap(layers: Sequence[LayerWeights], title: str, most: int = 24) -> str:
    """Rectangles as large as the bytes of each layer; green where they are 8 bits or less."""
    if len(layers) > most:
        rest = layers[most - 1 :]
        size = sum(one.bytes for one in rest)
        elements = sum(8 * one.bytes / max(one.bits, 1e-9) for one in rest)
        others = LayerWeights(f"{len(rest)} others", size, round(8 * size / elements, 1))
        layers = (*layers[: most - 1], others)
    height, total = 220.0, sum(one.bytes for one in layers) or 1
    x, y, wide, tall = 0.0, 0.0, float(_WIDTH), height
    parts = []
    left = float(total)
    for one in layers:
        share = one.bytes / left if left else 1.0
        w, h = (wide * share, tall) if wide >= tall else (wide, tall * share)
        kind = "eight" if one.bits <= 9 else "more"
        text = f"{one.layer}: {one.bytes / 1024:,.1f} KiB, {one.bits:g} bits"
        parts.append(
            f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}">'
            f"<title>{escape(text)}</title></rect>"
        )
        room = int((w - 8) / 6.5)
        if h >= 18 and room >= 4:
            shown = one.layer if len(one.layer) <= room else f"{one.layer[: room - 1]}…"
            parts.append(
                f'<text class="inside" x="{x + 4:.1f}" y="{y + 14:.1f}">{escape(shown)}</text>'
            )
        if wide >= tall:
            x, wide = x + w, wide - w
        else:
            y, tall = y + h, tall - h
        left -= one.bytes
    return small_svg(
        height, f"Bytes of weights by layer of {title}, {total / 1024:,.1f} KiB", "".join(parts)
    )
