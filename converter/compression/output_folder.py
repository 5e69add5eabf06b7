"""What ``compress`` leaves in its folder: the model under its name, and the report twice."""

from __future__ import annotations

import shutil
from dataclasses import replace
from html import escape
from pathlib import Path

from converter.report.html import to_html
from converter.report.report import Report, writable
from converter.report.report_name import REPORT_NAME
from runtimes.atomic_files import file_digests
from runtimes.defects import Defect, contain
from runtimes.onnx_files.load_save import load_model, write_model
from runtimes.onnx_files.streaming import locations_in


def write_report(report: Report, folder: Path) -> Report:
    """Write ``report`` for people and for machines; what of it could be written."""
    report = writable(report)
    report = replace(report, files=file_digests(folder))  # the page names those of the models
    page = contain("report.html", lambda: to_html(report))
    if isinstance(page, Defect):
        report = replace(report, defects=(*report.defects, page))
        page = f"<!doctype html><title>kilnx</title><pre>{escape(page.traceback)}</pre>\n"
    (folder / "report.html").write_text(page, encoding="utf-8")
    report = replace(report, files=file_digests(folder))
    (folder / REPORT_NAME).write_text(report.to_json(), encoding="utf-8")
    return report


def ship(path: Path, folder: Path) -> None:
    """Give the best model its name, under which no other trace of the steps remains."""
    shipped = folder / "model.onnx"
    if any(locations_in(path)):  # its data take the new name, too
        write_model(load_model(path), shipped)
    else:  # the bytes that were measured
        shutil.copyfile(path, shipped)
    for leftover in folder.glob("*.onnx.tmp*"):
        leftover.unlink()
