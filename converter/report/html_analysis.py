"""The second half of ``report.html``: errors by layer, time by layer and operator, roofline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

from converter.report.analysis import ErrorHistogram, Insight
from converter.report.html_bars import paired_bars
from converter.report.svg_charts import Point, histogram, lines, roofline
from runtimes.defects import Defect, contain
from runtimes.parity.layers.report import ROUNDING_DB, LayersReport, in_decibels
from runtimes.profiling.operators import OperatorsReport

_MOST = 20
_TABLE = 25


def insight_sections(insight: Insight | None) -> str:
    """The sections as HTML; empty if nothing was analysed."""
    if insight is None:
        return ""
    layers, before, after = insight.layers, insight.before, insight.after
    parts = []
    if layers is not None:
        parts.append(drawn("the error by layer", lambda: _layers(layers, insight.layers_of)))
    if insight.errors:
        parts.append(drawn("the errors of the outputs", lambda: _errors(insight.errors)))
    if before is not None:
        parts.append(drawn("the time by layer", lambda: _time(before, after)))
        parts.append(drawn("the roofline", lambda: _roof(before, after)))
        parts.append(drawn("the table of operators", lambda: _operators(after or before)))
    parts += [f'<p class="soft">{escape(note)}</p>' for note in insight.notes]
    return "".join(parts)


def drawn(part: str, draw: Callable[[], str]) -> str:
    """What ``draw`` gives, or a mark that this part of the page is missing, with the traceback."""
    found = contain(part, draw)
    if not isinstance(found, Defect):
        return found
    return (
        f'<p class="rolled">{escape(_sentence(f"{part} is missing: {found.error}"))} '
        "This is a defect of kilnx; please report it with what stands below.</p>"
        f"<details><summary>traceback</summary><pre>{escape(found.traceback)}</pre></details>"
    )


def scrolled(title: str, rows: str) -> str:
    """A table that scrolls by itself where it is wider than the page, also by the keyboard."""
    return (
        f'<div class="scroll" role="region" aria-label="{escape(title)}" tabindex="0">'
        f"<table>{rows}</table></div>"
    )


def _errors(errors: Sequence[ErrorHistogram]) -> str:
    heading = (
        '<h2>Errors of the outputs</h2><p class="soft">Result minus fp32, every element of up to '
        "256 samples; logarithmic counts.</p>"
    )
    return heading + "".join(
        f"<h3>{escape(one.output)}</h3>"
        f"{histogram(one.edges, one.counts, f'errors of {one.output}')}"
        for one in errors
    )


def _layers(report: LayersReport, reference: str) -> str:
    labels = [one.layer for one in report.layers]
    series = [
        [_shown(one.sqnr_db) for one in report.layers],
        [_shown(one.isolated_sqnr_db) for one in report.layers],
    ]
    blamed = [place for place, one in enumerate(report.layers) if one.departs]
    rows = "".join(
        f'<tr><td>{escape(one.layer)}</td><td class="text">{escape(" ".join(one.operators))}</td>'
        f"<td>{one.relative_error:.2e}</td><td>{in_decibels(one.sqnr_db)}</td>"
        f"<td>{one.isolated_relative_error:.2e}</td><td>{in_decibels(one.isolated_sqnr_db)}</td>"
        "</tr>"
        for one in report.layers
    )
    return (
        "<h2>Error by layer</h2>"
        f'<p>{escape(_sentence(report.reason))}</p><p class="soft">Signal-to-noise ratio against '
        f"{reference} on {report.samples} samples, higher is better: of the whole model up to the "
        "layer, and of the layer alone, given the reference's input. Layers that are exact up to "
        "rounding have no point.</p>"
        + lines(labels, series, ("up to the layer", "the layer alone"), "dB", blamed)
        + "<details><summary>all layers</summary>"
        + scrolled(
            "All layers",
            '<thead><tr><th>layer</th><th class="text">operators</th><th>error</th><th>SQNR</th>'
            f"<th>alone</th><th>SQNR alone</th></tr></thead><tbody>{rows}</tbody>",
        )
        + "</details>"
    )


def _time(before: OperatorsReport, after: OperatorsReport | None) -> str:
    names = ("fp32", "result")
    return (
        "<h2>Time by layer</h2>"
        f'<p class="soft">ONNX Runtime\'s profiler, batch {before.batch}; it adds about a '
        "microsecond to every operator.</p>"
        + paired_bars(
            _merged(before.by_layer(), after.by_layer() if after else []),
            "µs",
            names,
            "Time by layer",
        )
        + "<h2>Time by operator type</h2>"
        + paired_bars(
            _merged(before.by_type(), after.by_type() if after else []), "µs", names, "Time by type"
        )
    )


def _merged(
    before: list[tuple[str, float]], after: list[tuple[str, float]]
) -> list[tuple[str, float | None, float | None]]:
    one, other = dict(before), dict(after)
    names = sorted({*one, *other}, key=lambda name: -max(one.get(name, 0.0), other.get(name, 0.0)))
    rows: list[tuple[str, float | None, float | None]] = [
        (name, one.get(name), other.get(name)) for name in names[:_MOST]
    ]
    if len(names) > _MOST:
        rest = names[_MOST:]
        rows.append(
            (
                f"{len(rest)} others",
                sum(one.get(name, 0.0) for name in rest) if one else None,
                sum(other.get(name, 0.0) for name in rest) if other else None,
            )
        )
    return rows


def _roof(before: OperatorsReport, after: OperatorsReport | None) -> str:
    points = [
        Point(
            x=one.operations / one.bytes if one.bytes else 0.0,
            y=one.gflops,
            name=f"{one.layer or one.node}: {one.op_type}, {one.precision}, "
            f"{one.microseconds:.0f} µs, {one.gflops:.1f} GFLOP/s",
            weight=one.share,
            kind=kind,
        )
        for report, kind in ((before, "first"), (after, "second"))
        if report is not None
        for one in report.operators
    ]
    # What an operator reached is a bound that the machine can reach, too.
    gflops = max([before.roof.gflops, *(point.y for point in points)])
    gigabytes = max(
        [before.roof.gigabytes_per_s, *(point.y / point.x for point in points if point.x > 0)]
    )
    return (
        "<h2>Roofline</h2>"
        '<p class="soft">Every operator, and the best that was seen of this machine, by itself or '
        f"by an operator: {gflops:.0f} billion operations and {gigabytes:.0f} GB a second. Left of "
        "the corner, memory is the limit, and right of it, arithmetic. "
        "The area of a point is its share of the time.</p>"
        + roofline(points, gflops, gigabytes, ("fp32", "result"))
    )


def _operators(report: OperatorsReport) -> str:
    rows = report.rows(_TABLE)
    heads = "".join(
        f"<th{_text(column)}>{escape(column)}</th>" for column in (rows[0] if rows else {})
    )
    body = "".join(
        "<tr>"
        + "".join(f"<td{_text(name)}>{escape(cell)}</td>" for name, cell in row.items())
        + "</tr>"
        for row in rows
    )
    stayed = ""
    if report.stayed_float:
        names = "".join(f"<li>{escape(name)}</li>" for name in report.stayed_float)
        stayed = (
            f"<details><summary>{len(report.stayed_float)} operators multiply in float"
            f"</summary><ul>{names}</ul></details>"
        )
    return (
        "<h2>Operators</h2>"
        f"<p>{report.fused} of {report.nodes} nodes are fused into others in the graph that "
        f"ONNX Runtime runs.</p>{stayed}"
        + "<details><summary>the slowest</summary>"
        + scrolled(
            "The slowest operators",
            f"<thead><tr>{heads}</tr></thead><tbody>{body}</tbody>",
        )
        + "</details>"
    )


def _text(column: str) -> str:
    wide = column in ("operator", "precision", "provider", "bound by")
    return ' class="text"' if wide else ""


def _shown(decibels: float | None) -> float | None:
    if decibels is None or decibels > ROUNDING_DB:
        return None
    return max(decibels, -20.0)  # minus infinity if the candidate returns NaN


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."
