"""Check the page of ``kilnx serve`` with axe-core in Chromium, while it is used.

Both widths, light and dark; empty, with an answer and an alarm, with an error, and with the dialog
that asks for a token. Prints what axe-core finds wrong and exits with 1 where there is anything.
Without npm, Chromium or a registry that answers, it says so and exits with 0.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/support")]

from accessibility import WIDTHS, found_tools, said  # noqa: E402
from page_server import FakeServer, drive, watched  # noqa: E402

USED = """
await until(() => !at("send").disabled);
results.empty = await axe();
draw([[.2, .3], [.8, .3]]);
await until(() => at("answer").querySelector("b"));
await until(() => at("monitor").querySelector(".alarms"));
page().querySelector("details").open = true;
results.answered = await axe();
page().querySelector("input[value=image]").click();
results.image = await axe();
page().querySelector("input[value=json]").click();
at("text").value = "[";
at("send").click();
results.wrong = await axe();
"""
ASKED = 'await until(() => at("ask").open); results.asked = await axe();'


def main() -> int:
    """Check every state; the exit code."""
    tools = found_tools()
    if tools is None:
        return 0
    _, axe = tools
    wrong = 0
    for width, dark in itertools.product(WIDTHS, (False, True)):
        found = drive(
            FakeServer(monitor=watched(alarm=True), dark=dark, axe=axe), USED, width=width
        )
        found |= drive(FakeServer(token="x", dark=dark, axe=axe), ASKED, width=width)
        print(f"the page, {width} px, {'dark' if dark else 'light'}: {', '.join(found)}")
        for state, violations in found.items():
            for line in said({"violations": violations}):
                wrong += 1
                print(f"  {state}: {line}")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
