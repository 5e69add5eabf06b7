"""The first screen of ``report.html``: the verdict, the budget, and what was tried."""

from __future__ import annotations

from html import escape
from typing import Any

from converter.report.report import Judged, Measured, Report, metric_title
from converter.report.svg_small import Trial, budget_bar, trade_off
from runtimes.readable import times

OVERVIEW_STYLE = """
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .6rem;
  margin: 1rem 0; padding: 0; list-style: none; }
.tiles li { background: var(--soft); border-radius: 6px; padding: .5rem .8rem; }
.tiles strong { display: block; font-size: 1.4rem; line-height: 1.2; }
.verdict { border-left: 6px solid var(--good); padding: .2rem .8rem; font-size: 1.15rem;
  font-weight: 600; } .verdict.unchanged { border-color: var(--bad); }
.grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr));
  gap: 1rem 2rem; } .grid > section { min-width: 0; } .grid h2 { margin-top: 1rem; }
.samples { display: grid; grid-template-columns: repeat(auto-fill, minmax(8rem, 1fr)); gap: .8rem;
  padding: 0; list-style: none; } .samples li { background: var(--soft); border-radius: 6px;
  padding: .5rem; overflow-wrap: anywhere; }
.samples img { width: 4rem; image-rendering: pixelated; display: block; }
.samples svg.sample { width: 100%; margin: 0; }
.wrong { color: var(--bad); } .right { color: var(--good); }
code { overflow-wrap: anywhere; } dl.facts { display: grid; gap: .2rem 1rem;
  grid-template-columns: max-content 1fr; } dl.facts dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 480px) { dl.facts { grid-template-columns: 1fr; }
  .tiles { grid-template-columns: repeat(3, 1fr); gap: .4rem; } .tiles strong { font-size: 1.1rem; }
  .tiles li { padding: .4rem .5rem; font-size: .8rem; overflow-wrap: anywhere; }
  dl.facts dt { font-weight: 600; } body { font-size: 15px; }
  .scroll[aria-label="Steps"] :is(td, th):nth-child(n) { padding: .35rem .3rem; min-width: 0;
    white-space: normal; }
  .scroll[aria-label="Steps"] :is(td, th):is(:nth-child(2), :nth-child(4), :nth-child(7)) {
    display: none; } }
@media print { :root { --ink: #000; --quiet: #51575e; --paper: #fff; --line: #bbb;
  --soft: #f3f5f7; --good: #14713d;
  --bad: #a3371f; --bar: #3a6ea5; --other: #9a5b0f; } body { max-width: none; margin: 0; }
  section, svg, tr, li { break-inside: avoid; } h2, h3, .legend { break-after: avoid; }
  h2 + p, h2 + p + p { break-after: avoid; }
  .scroll { overflow: visible; } details::details-content { content-visibility: visible;
  display: block; } }
"""


def overview(report: Report) -> str:
    """The verdict in a line and in figures, the budget bar, and everything that was tried."""
    return (
        f"{_verdict(report)}{_tiles(report)}"
        f'<div class="grid">{_section("Budget", _budget(report))}'
        f"{_section('Everything that was tried', _tried(report))}</div>"
    )


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>" if body else ""


def _verdict(report: Report) -> str:
    kept = [step.name for step in report.steps if step.kept]
    if not kept:
        return (
            '<p class="verdict unchanged">Nothing was changed: no step helped inside the '
            "budget. model.onnx is the plain export.</p>"
        )
    return f'<p class="verdict">Inside the budget with {escape(_listed(kept))}.</p>'


def _listed(names: list[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _tiles(report: Report) -> str:
    before, after = report.baseline, report.result
    size = before.size_bytes / max(after.size_bytes, 1)
    tiles = [
        (
            f"{times(size)} smaller",
            f"{after.size_bytes / 1024:,.1f} KiB, fp32 {before.size_bytes / 1024:,.1f} KiB",
        )
    ]
    if after.speedup is not None:
        tiles.append((f"{times(after.speedup)} as fast", f"as fp32{_interval(after)}, batch 1"))
    if before.metric is not None and after.metric is not None:
        name = metric_title(report)
        tiles.append((f"{name} {after.metric:.4g}", f"fp32 {before.metric:.4g}"))
    elif after.agreement is not None:
        tiles.append((f"{after.agreement:.2%}", "of the answers are those of fp32"))
    items = "".join(
        f"<li><strong>{escape(large)}</strong>{escape(small)}</li>" for large, small in tiles
    )
    return f'<ul class="tiles">{items}</ul>'


def _interval(found: Measured) -> str:
    if found.speedup_low is None or found.speedup_high is None:
        return ""
    return f" ({found.speedup_low:.2f} to {found.speedup_high:.2f})"


def _budget(report: Report) -> str:
    """A bar for every metric, or how far agreement and SQNR are from their floors."""
    if report.judged:
        return "".join(budget_bar(one) for one in report.judged) + (
            '<p class="soft">How much worse than fp32 on the samples that judge, with its 95% '
            "interval; the bar is what may be lost.</p>"
        )
    agreement = report.result.agreement
    if report.metric_name is not None or agreement is None:
        return ""
    bar = Judged("answers that differ", 1 - agreement, None, None, 1 - report.min_agreement)
    noise = report.result.sqnr_db
    at = "" if noise is None else f" SQNR {noise:.1f} dB, at least {report.min_sqnr_db:.1f} dB."
    return f'{budget_bar(bar)}<p class="soft">The share of samples, next to fp32.{at}</p>'


def _tried(report: Report) -> str:
    """Speed against loss of steps and of plans that were searched through, size as the area."""
    trials = [
        Trial(
            name=step.name,
            share=1 / found.speedup,
            loss=_loss(found, report),
            size=found.size_bytes / max(report.baseline.size_bytes, 1),
            kept=step.kept,
            measured=True,
        )
        for step in report.steps
        if step.tried and (found := step.measured).speedup
    ]
    for step in report.steps:
        trials += _plans(step.details, report)
    known = [one for one in trials if one.loss is not None]
    if not known:
        return ""
    allowed = report.max_drop if report.metric_name is not None else 1 - report.min_agreement
    loss = f"loss of {metric_title(report)}" if report.metric_name else "answers that differ"
    return trade_off(known, allowed, loss) + (
        '<p class="soft">Loss next to fp32 against the share of its time; the area is the share of '
        "its size. Filled: kept. Red: outside the budget. Steps were measured on the samples that "
        "judge; plans of cuts (small rings) on samples held out of those that calibrate, with time "
        "as the cost table has it.</p>"
    )


def _loss(found: Measured, report: Report) -> float | None:
    if report.metric_name is None:
        return None if found.agreement is None else 1 - found.agreement
    if found.metric is None or report.baseline.metric is None:
        return None
    lost = report.baseline.metric - found.metric
    return lost if report.higher_is_better else -lost


def _plans(details: dict[str, Any], report: Report) -> list[Trial]:
    whole = (details.get("before") or {}).get("parameters") or 1
    found = []
    for one in details.get("tried") or ():
        if not isinstance(one, dict):  # quantize counts what it tried
            continue
        agreement = one.get("agreement")
        loss = one.get("drop") if report.metric_name else None
        if loss is None and agreement is not None and report.metric_name is None:
            loss = 1 - agreement
        found.append(
            Trial(
                "cuts, inside" if one["passed"] else "cuts, outside",
                one["share"],
                loss,
                one["parameters"] / whole,
                kept=False,
                measured=False,
            )
        )
    return found


def facts(report: Report, version: str) -> str:
    """Version, command, seed and hashes: what it takes to do it again."""
    rows: list[tuple[str, str]] = [("kilnx", version)]
    if report.command:
        rows.append(("command", report.command))
    rows += [("seed", str(report.seed)), ("made", report.created)]
    if report.costs:
        rows.append(("cost table", str(report.costs.get("digest", ""))))
    rows += [
        (name, f"SHA-256 {digest}")
        for name, digest in report.files.items()
        if name.endswith(".onnx")
    ]
    items = "".join(
        f"<dt>{escape(name)}</dt><dd><code>{escape(text)}</code></dd>" for name, text in rows
    )
    return f'<h2>To do it again</h2><dl class="facts">{items}</dl>'
