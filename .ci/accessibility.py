"""Check reports with axe-core in Chromium: ``accessibility.py REPORT.html...``.

Each page is read at the width of a desk and of a telephone, light and dark. Prints what axe-core
finds wrong and exits with 1 where there is anything. Without npm, Chromium or a registry that
answers, it says so and exits with 0.
"""

from __future__ import annotations

import html
import itertools
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

AXE = "axe-core@4"
WIDTHS = (1280, 390)
DARK = "@media (prefers-color-scheme: dark)"
# The answer goes into the page of which Chromium prints the end.
RUN = """
<script>%s</script>
<script>
addEventListener("load", () => axe.run().then(found => {
  const answer = parent.document.createElement("pre");
  answer.id = "answer";
  answer.textContent = JSON.stringify({
    rules: found.passes.length,
    violations: found.violations.map(one => ({
      id: one.id, help: one.help, nodes: one.nodes.map(node => node.target.join(" "))})),
  });
  parent.document.body.append(answer);
}));
</script>
"""
ANSWER = re.compile(r'<pre id="answer">(.*?)</pre>', re.DOTALL)


def main() -> int:
    """Check every page; the exit code."""
    tools = found_tools()
    if tools is None:
        return 0
    chromium, axe = tools
    wrong = 0
    with tempfile.TemporaryDirectory() as scratch:
        for report, dark, width in itertools.product(sys.argv[1:], (False, True), WIDTHS):
            found = checked(chromium, Path(report), axe, width, dark=dark, folder=Path(scratch))
            print(
                f"{report}, {width} px, {'dark' if dark else 'light'}: {found['rules']} rules hold"
            )
            for line in said(found):
                wrong += 1
                print(f"  {line}")
    return int(wrong > 0)


def found_tools() -> tuple[str, str] | None:
    """Chromium and the script of axe-core; None, with what is missing said, where there is none."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None or shutil.which("npm") is None:
        print("skipped: npm or Chromium is not installed")
        return None
    with tempfile.TemporaryDirectory() as scratch:
        axe = installed(Path(scratch))
    if axe is None:
        print(f"skipped: {AXE} cannot be had from the registry")
        return None
    return chromium, axe


def installed(folder: Path) -> str | None:
    """The script of axe-core; None where npm cannot install it."""
    command = ["npm", "install", "--silent", "--no-save", "--prefix", str(folder), AXE]
    if subprocess.run(command, check=False).returncode:
        return None
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


def checked(
    chromium: str, report: Path, axe: str, width: int, *, dark: bool, folder: Path
) -> dict[str, Any]:
    """What axe-core says of ``report``, which stands in a frame: a window has a least width."""
    text = report.read_text(encoding="utf-8")
    if dark:
        text = text.replace(DARK, "@media all")
    inner = html.escape(text + RUN % axe, quote=True)
    page = folder / "frame.html"
    frame = (
        f'<iframe title="report" srcdoc="{inner}" style="width:{width}px;height:900px"></iframe>'
    )
    page.write_text(f"<!doctype html><title>frame</title><body>{frame}", encoding="utf-8")
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu"]
    command += [f"--user-data-dir={folder}/profile", "--window-size=1400,1000"]
    command += ["--virtual-time-budget=60000", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    answer = ANSWER.search(done.stdout)
    if answer is None:
        raise SystemExit(f"axe-core gave no answer for {report}:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(html.unescape(answer[1]))
    return found


def said(found: dict[str, Any]) -> Iterator[str]:
    """A line for each violation."""
    for one in found["violations"]:
        yield f"{one['id']}: {one['help']} ({', '.join(one['nodes'][:5])})"


if __name__ == "__main__":
    sys.exit(main())
