"""Which functions of ``keras.ops`` export right: the case table of tests/support/op_cases.

    python benchmarks/ops.py [--only REGEX] [--family NAME] [--together 16] [--json ops.json]

Prints right / refused / wrong by family and every case that is not right; ``keras`` are those
that Keras itself cannot do. Exits with 1 when a case is wrong, refused without being expected
to, or right although a refusal was expected.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from case_table import surroundings, table, totals

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

STATUSES = ("right", "refused", "wrong", "keras")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", help="cases whose id matches this regular expression")
    parser.add_argument("--family", default="", help="this family alone, such as images")
    parser.add_argument("--together", type=int, default=16, help="cases in one model, at first")
    parser.add_argument("--json", type=Path, help="write the outcomes here")
    parser.add_argument("--quiet", action="store_true", help="only the table")
    options = parser.parse_args()

    from runtimes.keras_models.load import import_keras

    import_keras()
    rows = []
    for row in outcomes(options):
        rows.append(row)
        if options.json:
            options.json.write_text(json.dumps(report(rows), indent=1) + "\n")
    print(table(rows, "family", STATUSES))
    for row in rows:
        if row["status"] != "right" and not options.quiet:
            print(f"{row['status']:8} {row['case']}\n         {row['detail'][:400]}")
    return int(any(not row["as_expected"] for row in rows))


def outcomes(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One row a case: what came of it, and whether that was expected."""
    from op_cases.table import FAMILIES, attempt_all

    for family in FAMILIES:
        name = family.__name__.split(".")[-1]
        if options.family not in ("", name):
            continue
        chosen = [case for case in family.cases() if re.search(options.only, case.id)]
        # What is refused would be refused with all that it is tried with.
        tried = [case for case in chosen if not case.refused]
        groups = [tried[i : i + options.together] for i in range(0, len(tried), options.together)]
        groups += [[case] for case in chosen if case.refused]
        for group in groups:
            begin = time.perf_counter()
            found = attempt_all(group)
            seconds = (time.perf_counter() - begin) / len(group)
            for case, outcome in zip(group, found, strict=True):
                if not options.quiet:
                    print(f"{outcome.status:8} {seconds:5.1f} s  {case.id}", file=sys.stderr)
                yield _row(name, case, outcome)


def _row(family: str, case: Any, outcome: Any) -> dict[str, Any]:
    expected = {"refused", "keras"} if case.refused else {"right", "keras"}
    return {
        "family": family,
        "function": case.op,
        "case": case.id,
        "status": outcome.status,
        "as_expected": outcome.status in expected,
        "detail": outcome.detail,
    }


def report(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What ``--json`` writes: versions, machine, totals and rows."""
    return {
        **surroundings(),
        "functions": len({row["function"] for row in rows}),
        "totals": totals(rows),
        "cases": rows,
    }


if __name__ == "__main__":
    sys.exit(main())
