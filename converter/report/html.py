"""``report.html``: the report as one self-contained page, in light and dark mode."""

from __future__ import annotations

from html import escape

from converter.report.html_analysis import drawn, insight_sections, scrolled
from converter.report.html_answers import answer_sections, channel_section, weight_section
from converter.report.html_bars import BARS_STYLE, bars
from converter.report.html_overview import OVERVIEW_STYLE, facts, overview
from converter.report.html_stress import stress_section
from converter.report.report import (
    Measured,
    Report,
    StepReport,
    cells,
    decision,
    metric_title,
    models,
    summary,
)
from converter.report.svg_charts import CHART_STYLE
from converter.report.svg_small import SMALL_STYLE
from runtimes.version import own_version

_STYLE = """
:root { color-scheme: light dark; --ink: #1c1e21; --quiet: #51575e;
  --paper: #fff; --line: #d8dce1; --soft: #f3f5f7;
  --good: #14713d; --bad: #a3371f; --bar: #3a6ea5; --other: #c77b21; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8ea; --quiet: #aab1b8;
  --paper: #15181b; --line: #363c43;
  --soft: #1e2327; --good: #6ccb94; --bad: #f0937c; --bar: #7fb0e0;
  --other: #e8ac5f; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: .2rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
p.lead { font-size: 1.1rem; } .soft { color: var(--quiet); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .45rem .7rem; border-bottom: 1px solid var(--line); text-align: right;
  vertical-align: top; }
th:first-child, td:first-child, td.text, th.text { text-align: left; }
thead th { background: var(--soft); font-weight: 600; }
.kept { color: var(--good); font-weight: 600; } .rolled { color: var(--bad); font-weight: 600; }
.scroll { overflow-x: auto; } .scroll svg { min-width: 40rem; }
.scroll td:not(.text), .scroll th { white-space: nowrap; }
td.text { min-width: 7rem; } dl.why dt { font-weight: 600; margin-top: .7rem; }
dl.why dd { margin: .1rem 0 0; max-width: 46rem; overflow-wrap: anywhere; }
details { margin: .6rem 0; } summary { cursor: pointer; }
.legend { margin: .4rem 0 0; } .key { display: inline-block; width: .8em; height: .8em;
  border-radius: 2px; margin: 0 .4em 0 1em; print-color-adjust: exact; }
.key.first { background: var(--bar); }
.key.second { background: var(--other); } h3 { font-size: 1rem; margin-bottom: 0; }
"""


def to_html(report: Report) -> str:
    """Render ``report`` as an HTML page that needs no network and no other file.

    A part that cannot be drawn is a mark in its place.
    """
    return page(report.source, drawn("the page", lambda: _body(report)))


def page(title: str, body: str, *, head: str = "", style: str = "") -> str:
    """A page in the style of all reports; ``head`` and ``style`` are added to its own."""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">{head}
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>kilnx: {escape(title)}</title>
<style>{_STYLE}{CHART_STYLE}{BARS_STYLE}{SMALL_STYLE}{OVERVIEW_STYLE}{style}</style></head><body>
{body}</body></html>
"""


def _body(report: Report) -> str:
    steps = models(report)
    sizes = [
        (name, found.size_bytes / 1024, f"{found.size_bytes / 1024:,.1f} KiB")
        for name, found, _ in steps
        if found
    ]
    latencies = [
        (name, found.latency_ms, f"{found.latency_ms:,.3f} ms")
        for name, found, _ in steps
        if found is not None and found.latency_ms is not None
    ]
    reasons = "".join(
        f'<dt>{escape(step.name)}: <span class="{_kind(step)}">{decision(step)}</span></dt>'
        f"<dd>{escape(step.reason)}</dd>"
        for step in report.steps
    )
    notes = "".join(f"<li>{escape(note)}</li>" for note in report.notes)
    machine = ", ".join(
        f"{escape(str(key))} {escape(str(value))}"
        for key, value in report.machine.items()
        if key != "packages"
    )
    packages = ", ".join(
        f"{escape(name)} {escape(version)}"
        for name, version in report.machine.get("packages", {}).items()
    )
    insight = report.insight
    steps_table = (
        scrolled(
            "Steps",
            "<thead><tr><th>model</th><th>size</th><th>of fp32</th><th>latency</th>"
            f"<th>speed-up</th><th>{escape(metric_title(report))}</th><th>SQNR</th>"
            '<th class="text">kept?</th></tr></thead><tbody>'
            + "".join(_row(name, found, note, report) for name, found, note in steps)
            + "</tbody>",
        )
        + '<p class="soft">Size, latency and speed-up next to fp32, the plain export.</p>'
    )
    # One section after another: a section that has nothing to show is empty.
    sections = (
        ("the overview", lambda: overview(report)),
        ("the steps", lambda: f"<h2>Steps</h2>{steps_table}"),
        ("the reasons", lambda: f'<h2>Why</h2><dl class="why">{reasons}</dl>'),
        ("the rungs", lambda: stress_section(report.stress)),
        ("the answers", lambda: answer_sections(insight.answers if insight else None)),
        (
            "the weights",
            lambda: (
                weight_section(insight.weights_before, insight.weights_after) if insight else ""
            ),
        ),
        ("the channels", lambda: channel_section(report)),
        ("the chart of sizes", lambda: f"<h2>Size</h2>{bars(sizes, title='Size of each model')}"),
        (
            "the chart of latencies",
            lambda: f"<h2>Latency</h2>{bars(latencies, title='Latency of each model')}",
        ),
        ("the analysis", lambda: insight_sections(insight)),
        ("the notes", lambda: f"<h2>Notes</h2><ul>{notes}</ul>" if notes else ""),
        ("the facts", lambda: facts(report, own_version())),
    )
    body = "".join(drawn(part, draw) for part, draw in sections)
    return f"""<header><h1>{escape(report.source)}</h1>
<p class="lead">{escape(summary(report))}</p></header><main>{body}
<h2>Measured on</h2><p class="soft">{machine}; {report.threads} thread(s), batch 1.<br>
{packages}.</p></main>"""


def _kind(step: StepReport) -> str:
    if step.defect is not None and not step.kept:
        return "rolled"
    return ("kept" if step.kept else "rolled") if step.tried else "soft"


def _row(name: str, found: Measured | None, note: str, report: Report) -> str:
    kind = {"kept": "kept", "not kept": "rolled", "failed": "rolled"}.get(note, "soft")
    return (
        f"<tr><td>{escape(name)}</td>"
        + "".join(f"<td>{escape(cell)}</td>" for cell in cells(found, report))
        + f'<td class="text {kind}">{escape(note)}</td></tr>'
    )
