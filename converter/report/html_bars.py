"""Bars as lists: as wide as the page, with texts that can be read at any width."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from converter.report.svg_charts import legend

BARS_STYLE = """
.bars { list-style: none; padding: 0; margin: .6rem 0; display: grid; gap: .35rem;
  font-size: .85rem; line-height: 1.25; }
.bars li { display: grid; grid-template-columns: minmax(8.2rem, 26%) 1fr; gap: 0 .7rem;
  align-items: center; break-inside: avoid; }
.bars .name { text-align: right; overflow-wrap: anywhere; grid-row: 1 / span 2; }
.bars .bar { grid-column: 2; display: flex; align-items: center; gap: .45rem;
  white-space: nowrap; }
.bars i { flex: none; height: 1rem; border-radius: 2px; background: var(--bar);
  width: calc((100% - 6.6rem) * var(--share)); min-width: 2px; print-color-adjust: exact;
  -webkit-print-color-adjust: exact; }
.bars i.second { background: var(--other); } .bars.pairs i { height: .7rem; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
"""

_NOTHING = '<p class="soft">not measured</p>'
# Units of more letters are words.
_LONGEST_SYMBOL = 3


def bars(rows: Sequence[tuple[str, float, str]], title: str = "Bars") -> str:
    """Horizontal bars from zero: label, length, and the text after the bar."""
    if not rows:
        return _NOTHING
    top = max(value for _, value, _ in rows) or 1.0
    items = "".join(
        f'<li><span class="name">{escape(label)}</span>{_bar("first", value / top, text)}</li>'
        for label, value, text in rows
    )
    return f'<ul class="bars" aria-label="{escape(title)}">{items}</ul>'


def paired_bars(
    rows: Sequence[tuple[str, float | None, float | None]],
    unit: str,
    names: tuple[str, str],
    title: str = "",
) -> str:
    """Two bars per label, one for each series; None: the series has no such label."""
    values = [value for _, *pair in rows for value in pair if value is not None]
    if not values:
        return _NOTHING
    top = max(values) or 1.0
    items = ""
    for label, *pair in rows:
        found = "".join(
            _bar(kind, value / top, f"{value:,.4g} {_of(unit, value)}", name)
            for value, kind, name in zip(pair, ("first", "second"), names, strict=True)
            if value is not None
        )
        items += f'<li><span class="name">{escape(label)}</span>{found}</li>'
    title = f"{title or unit}, {names[0]} and {names[1]}"
    return f'{legend(names)}<ul class="bars pairs" aria-label="{escape(title)}">{items}</ul>'


def _bar(kind: str, share: float, text: str, series: str = "") -> str:
    """One bar with its text; a screen reader is told the series, too."""
    told = f'<span class="unseen">{escape(series)}: </span>' if series else ""
    return (
        f'<span class="bar"><i class="{kind}" style="--share:{share:.4f}"></i>'
        f"<span>{told}{escape(text)}</span></span>"
    )


def _of(unit: str, value: float) -> str:
    """``unit``, which is a plural where it is a word: one channel."""
    return unit.removesuffix("s") if value == 1 and len(unit) > _LONGEST_SYMBOL else unit
