"""The part of ``report.html`` on perturbed samples: the rungs next to fp32, as a picture."""

from __future__ import annotations

from html import escape
from itertools import groupby

from converter.report.svg_charts import Pair, dots
from runtimes.parity.stress_report import RungParity, StressReport


def stress_section(stress: StressReport | None) -> str:
    """The section as HTML; empty if the result was not judged on perturbed samples."""
    if stress is None:
        return ""
    charts = ""
    for measure, rungs in groupby(stress.rungs, key=lambda one: one.measure):
        found = list(rungs)
        up = all(one.higher_is_better for one in found)
        pairs = [pair for one in found if (pair := _pair(one)) is not None]
        if pairs:
            charts += f"<h3>{escape(measure)}</h3>{dots(pairs, ('fp32', 'result'), up=up)}"
    left_out = "".join(f"<li>{escape(f'{name}: {why}')}</li>" for name, why in stress.left_out)
    return (
        f'<h2>Under stress</h2><p class="soft">{stress.samples} samples, perturbed: each rung is '
        "the harshest of its kind that fp32 bears. The band is what the budget allows next to fp32 "
        "on the same samples, with what chance explains.</p>"
        f"{charts}{_folded('rungs that fp32 does not bear', left_out)}"
    )


def _folded(title: str, items: str) -> str:
    if not items:
        return ""
    return f"<details><summary>{title}</summary><ul>{items}</ul></details>"


def _pair(rung: RungParity) -> Pair | None:
    """A rung as two dots."""
    if rung.candidate is None or rung.limit is None:
        return None
    return Pair(rung.name, rung.reference, rung.candidate, rung.limit, str(rung), not rung.passed)
