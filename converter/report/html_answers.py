"""Sections of ``report.html`` on answers, weights and channels, before and after."""

from __future__ import annotations

from html import escape
from typing import Any

from converter.report.answers import Answers, Changed
from converter.report.html_bars import paired_bars
from converter.report.report import Report
from converter.report.svg_small import confusion, treemap
from converter.report.weights_by_layer import LayerWeights

_MOST_GROUPS = 30


def answer_sections(answers: Answers | None) -> str:
    """Confusion before and after, and the samples whose answer changed; empty for no classifier."""
    if answers is None:
        return ""
    parts = []
    if answers.before and answers.after:
        pair = (("fp32", answers.before), ("result", answers.after))
        drawn = "".join(confusion(counts, answers.classes, name) for name, counts in pair)
        parts.append(
            "<h2>Confusion before and after</h2>"
            f'<p class="soft">{escape(answers.output)} on {answers.samples} samples that judge; '
            f'classes downward, answers to the right.</p><div class="grid">{drawn}</div>'
        )
    share = answers.changed / max(answers.samples, 1)
    parts.append(
        "<h2>Samples whose answer changed</h2>"
        f"<p>{answers.changed} of {answers.samples} ({share:.2%})"
        + (f", the first {len(answers.shown)}:" if answers.shown else ".")
        + "</p>"
    )
    if answers.shown:
        items = "".join(_sample(one) for one in answers.shown)
        parts.append(f'<ul class="samples">{items}</ul>')
    return "".join(parts)


def _sample(one: Changed) -> str:
    def marked(answer: str) -> str:
        kind = "" if not one.label else "right" if answer == one.label else "wrong"
        return f'<span class="{kind}">{escape(answer)}</span>'

    truth = f"<br>is {escape(one.label)}" if one.label else ""
    return (
        f"<li>{one.shown}<small>sample {one.sample}</small><br>"
        f"{marked(one.before)} → {marked(one.after)}{truth}</li>"
    )


def weight_section(before: tuple[LayerWeights, ...], after: tuple[LayerWeights, ...]) -> str:
    """Treemaps of both files by Keras layer."""
    if not before or not after:
        return ""
    maps = "".join(
        f"<section><h3>{name}, {sum(one.bytes for one in layers) / 1024:,.1f} KiB of weights</h3>"
        f"{treemap(layers, name)}</section>"
        for name, layers in (("fp32", before), ("result", after))
    )
    return (
        '<h2>Bytes and bits by layer</h2><p class="soft">As large as the weights; green: 8 bits '
        f'or less.</p><div class="grid">{maps}</div>'
    )


def channel_section(report: Report) -> str:
    """Channels of every group of layers before and after pruning, if some went."""
    details: dict[str, Any] = next(
        (step.details for step in report.steps if step.name == "prune" and step.kept), {}
    )
    groups = [one for one in details.get("groups") or () if one["layers"]]
    rows = [
        (", ".join(one["layers"]), float(one["before"]), float(one["after"]))
        for one in groups[:_MOST_GROUPS]
    ]
    if not any(before != after for _, before, after in rows):
        return ""
    return "<h2>Channels before and after</h2>" + paired_bars(
        rows, "channels", ("fp32", "result"), "Channels of each group"
    )
