"""The page of a race: what to ship, a picture of latency and accuracy, and every figure."""

from __future__ import annotations

from html import escape
from pathlib import Path

from converter.report.html import page
from converter.report.html_analysis import drawn, scrolled
from converter.report.svg_race import RACE_STYLE, latency_and_accuracy
from runtimes.atomic_files import refuse_existing, replace_text
from runtimes.errors import DataError
from runtimes.racing.entry import Entry
from runtimes.racing.report import RaceReport
from runtimes.racing.table import accuracy
from runtimes.version import own_version

_MARK = '<meta name="generator" content="kilnx race">'
_WITHIN = 400


def refuse_page(path: Path, *, force: bool) -> None:
    """Raise ``DataError`` unless a page may be written to ``path``.

    With ``force`` a page of an earlier race is replaced, and nothing else is.
    """
    if path.is_file() and not path.is_symlink() and _is_page(path):
        if force:
            return
        raise DataError(f"{path} exists; replace the page of that race with --force (force=True)")
    refuse_existing(path, force=False)


def write_page(report: RaceReport, path: Path, *, force: bool = False) -> None:
    """Write the page of ``report`` to ``path``, whole or not at all."""
    refuse_page(path, force=force)
    replace_text(path, race_page(report))


def race_page(report: RaceReport) -> str:
    """The page as HTML that needs no network and no other file."""
    sections = (
        ("the verdict", lambda: _verdict(report)),
        ("the picture", lambda: _picture(report)),
        ("the table", lambda: f"<h2>All entries</h2>{_table(report)}"),
        ("the reasons", lambda: _listed("Refused, failed or outside the budget", report.reasons())),
        ("the notes", lambda: _listed("Notes", report.notes)),
        ("the facts", lambda: _facts(report)),
    )
    body = "".join(drawn(part, draw) for part, draw in sections)
    return page(
        f"race of {report.reference}",
        f"<header><h1>Which runtime to ship</h1></header><main>{body}</main>",
        head=_MARK,
        style=RACE_STYLE,
    )


def _is_page(path: Path) -> bool:
    with path.open(encoding="utf-8", errors="replace") as file:
        return _MARK in file.read(_WITHIN)


def _verdict(report: RaceReport) -> str:
    kind = "verdict" if report.passed else "verdict unchanged"
    return (
        f'<p class="{kind}">{escape(_sentence(report.recommendation))}</p>{_tiles(report.winner)}'
    )


def _tiles(winner: Entry | None) -> str:
    if winner is None:
        return ""
    tiles = [(winner.file, "INT8 or other integers" if winner.quantized else "float")]
    version = f", version {winner.version}" if winner.version else ""
    tiles.append((winner.place, f"the engine{version}"))
    if winner.latency is not None:
        tiles.append((f"{winner.latency.p50_ms:.3g} ms", f"median at batch {winner.latency.batch}"))
    tiles.append((accuracy(winner), _meaning(winner)))
    items = "".join(
        f"<li><strong>{escape(large)}</strong>{escape(small)}</li>" for large, small in tiles
    )
    return f'<ul class="tiles">{items}</ul>'


def _meaning(winner: Entry) -> str:
    if winner.metrics:
        return f"{winner.metrics[0].name}, the reference {winner.metrics[0].reference:.4g}"
    if winner.agreement is not None:
        return "of the answers are the reference's"
    return "next to the reference"


def _picture(report: RaceReport) -> str:
    drawing = latency_and_accuracy(report)
    if not drawing:
        return ""
    return f"<h2>Latency and accuracy</h2>{drawing}"


_COLUMNS = (
    ("file", True),
    ("engine", True),
    ("accuracy", False),
    ("latency", False),
    ("spread", False),
    ("p90", False),
    ("throughput", False),
    ("peak memory", False),
    ("load", False),
    ("first run", False),
    ("file size", False),
    ("engine size", False),
    ("budget", True),
)


def _table(report: RaceReport) -> str:
    head = "".join(
        f'<th scope="col"{" class=text" if text else ""}>{name}</th>' for name, text in _COLUMNS
    )
    body = "".join(
        _row(one, shipped=place == report.recommended) for place, one in enumerate(report.entries)
    )
    return scrolled("All entries", f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>") + (
        f'<p class="soft">Accuracy against {escape(report.reference)} in ONNX Runtime on the CPU, '
        f"{report.samples} samples. Budget: {escape(report.judged_by)}.</p>"
    )


def _row(one: Entry, *, shipped: bool) -> str:
    latency, batch = one.latency, one.at_batch or one.latency
    cells = (
        escape(one.file),
        escape(one.place) + (" <strong>ship</strong>" if shipped else ""),
        escape(accuracy(one)),
        "–" if latency is None else f"{latency.p50_ms:.3g} ms",
        "–" if latency is None or latency.spread is None else f"±{latency.spread:.0%}",
        "–" if latency is None else f"{latency.p90_ms:.3g} ms",
        "–" if batch is None else f"{batch.throughput:,.0f}/s at {batch.batch}",
        _mega(one.memory_bytes),
        _milliseconds(one.load_ms),
        _milliseconds(one.first_run_ms),
        _mega(one.file_bytes),
        _mega(one.install_bytes),
    )
    filled = "".join(
        f"<td{' class=text' if text else ''}>{cell}</td>"
        for cell, (_, text) in zip(cells, _COLUMNS, strict=False)
    )
    kind, word = _outcome(one)
    return f'<tr>{filled}<td class="text {kind}">{word}</td></tr>'


def _outcome(one: Entry) -> tuple[str, str]:
    if one.refused is not None:
        return "soft", "does not run"
    if one.failed is not None:
        return "rolled", "failed"
    return ("kept", "inside") if one.in_budget else ("rolled", "outside")


def _listed(title: str, texts: object) -> str:
    items = "".join(f"<li>{escape(str(text))}</li>" for text in texts)  # type: ignore[attr-defined]
    return f'<h2>{title}</h2><ul class="reasons">{items}</ul>' if items else ""


def _facts(report: RaceReport) -> str:
    settings = report.settings
    engines = ", ".join(
        f"{name} {version or ''}".strip() for name, version in settings.get("engines", {}).items()
    )
    rows = [
        ("kilnx", own_version()),
        ("CPU", f"{settings.get('cpu')}, {settings.get('cores')} usable cores"),
        ("engines", engines),
        ("launches", f"{settings.get('launches')} of every entry, interleaved"),
    ]
    items = "".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in rows)
    return f'<h2>Measured on</h2><dl class="facts">{items}</dl>'


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _mega(size: int | None) -> str:
    return "–" if size is None else f"{size / 1e6:,.2f} MB"


def _milliseconds(value: float | None) -> str:
    return "–" if value is None else f"{value:,.3g} ms" if value < 1000 else f"{value:,.0f} ms"
