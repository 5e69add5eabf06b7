"""Which Keras layers export correctly: the case table of tests/support/layer_cases, as a report.

    python benchmarks/layers.py [--only REGEX] [--json layers.json]

Prints right / refused / wrong by family and every case that is not right. Exits with 1 when a
case is wrong, refused without being expected to, or right although a refusal was expected.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

from case_table import surroundings, table, totals

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

STATUSES = ("right", "refused", "wrong", "absent")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", help="cases whose id matches this regular expression")
    parser.add_argument("--json", type=Path, help="write the outcomes here")
    parser.add_argument("--quiet", action="store_true", help="only the table")
    options = parser.parse_args()

    from runtimes.keras_models.load import import_keras

    import_keras()
    rows = list(outcomes(options.only, progress=not options.quiet))
    print(table(rows, "family", STATUSES))
    for row in rows:
        if row["status"] != "right" and not options.quiet:
            print(f"{row['status']:8} {row['case']}\n         {row['detail'][:400]}")
    if options.json:
        options.json.write_text(json.dumps(report(rows), indent=1) + "\n")
    return int(any(not row["as_expected"] for row in rows))


def outcomes(only: str = "", *, progress: bool = False) -> Any:
    """One row per case: its outcome, and whether that was expected."""
    from layer_cases.table import FAMILIES, attempt

    for family in FAMILIES:
        for case in family.cases():
            if not re.search(only, case.id):
                continue
            begin = time.perf_counter()
            try:
                outcome = attempt(case)
                status, detail, nodes = outcome.status, outcome.detail, outcome.nodes
            except Exception as error:
                status, detail, nodes = "wrong", f"case: {type(error).__name__}: {error}", 0
            expected = {"refused", "absent"} if case.refused else {"right", "absent"}
            row = {
                "family": family.__name__.split(".")[-1],
                "layer": case.layer,
                "case": case.id,
                "status": status,
                "as_expected": status in expected,
                "detail": detail,
                "nodes": nodes,
                "seconds": round(time.perf_counter() - begin, 2),
            }
            if progress:
                print(f"{status:8} {row['seconds']:5.1f} s  {case.id}", file=sys.stderr)
            yield row


def report(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What ``--json`` writes: versions, machine, totals and rows."""
    return {
        **surroundings(),
        "layers": len({row["layer"] for row in rows}),
        "totals": totals(rows),
        "cases": rows,
    }


if __name__ == "__main__":
    sys.exit(main())
