"""What compression makes of the networks that people build, as a table beside that of the layers.

    python benchmarks/compress_layers.py [--only REGEX] [--layers] [--commands cut,prune,…]
                                         [--json compress_layers.json]

Small networks of tests/support/architectures (with ``--layers`` the cases of the layer table, too,
between layers that have weights to cut) go through ``cut`` (random channels removed against the
same channels at zero), ``prune`` to half of the multiply-adds, ``quantize`` (all that can be INT8,
paying or not), ``dedupe`` and ``compress``. Plain ONNX Runtime judges: right, left alone (with the
reason), or a fault. Exits with 1 where there is a fault.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

STATUSES = ("right", "left alone", "fault")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", help="networks whose name matches this expression")
    parser.add_argument("--layers", action="store_true", help="also the cases of the layer table")
    parser.add_argument("--commands", help="some of cut, prune, quantize, dedupe and compress")
    parser.add_argument("--json", type=Path, help="write the outcomes here")
    options = parser.parse_args()

    from architectures.outcomes import COMMANDS

    commands = options.commands.split(",") if options.commands else list(COMMANDS)
    rows = list(outcomes(commands, options.only, layers=options.layers))
    print(table(rows, commands))
    for row in rows:
        if row["status"] == "fault":
            print(f"fault    {row['network']}, {row['command']}: {row['detail'][:300]}")
    print(reasons(rows))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return int(any(row["status"] == "fault" for row in rows))


def outcomes(commands: list[str], only: str, *, layers: bool) -> Iterator[dict[str, Any]]:
    """One row a network and command."""
    from architectures.outcomes import exported, outcome
    from architectures.table import FAMILY_OF, layers_between

    from runtimes.keras_models.load import import_keras

    keras = import_keras()
    cases = [(family, one) for family, found in FAMILY_OF.items() for one in found]
    cases += list(layers_between()) if layers else []
    for family, one in cases:
        if not re.search(only, one.name):
            continue
        try:
            live = one.model(keras)
            model, data = exported(live), one.samples(live)
        except Exception as error:  # the table of layers is about the export
            print(f"not exported: {one.name}: {type(error).__name__}: {error}", file=sys.stderr)
            continue
        for command in commands:
            begin = time.perf_counter()
            with tempfile.TemporaryDirectory() as folder:
                found = outcome(command, model.clone(), data, Path(folder))
            seconds = round(time.perf_counter() - begin, 2)
            why = f": {found.detail[:200]}" if found.status == "fault" else ""
            print(
                f"{found.status:10} {seconds:6.1f} s  {one.name}, {command}{why}", file=sys.stderr
            )
            yield {
                "family": family,
                "network": one.name,
                "command": command,
                "status": found.status,
                "detail": found.detail,
                "seconds": seconds,
            }


def table(rows: list[dict[str, Any]], commands: list[str]) -> str:
    """Right, left alone and faults by command."""
    lines = [f"{'command':10}" + "".join(f"{status:>12}" for status in STATUSES)]
    for command in commands:
        counts = Counter(row["status"] for row in rows if row["command"] == command)
        lines.append(f"{command:10}" + "".join(f"{counts[status]:12}" for status in STATUSES))
    return "\n".join(lines)


def reasons(rows: list[dict[str, Any]]) -> str:
    """Why networks were left alone, the numbers and names in the sentences left out."""
    found = Counter(
        (row["command"], re.sub(r"'[^']*'|[-\d.]+\S*", "…", row["detail"])[:90])
        for row in rows
        if row["status"] == "left alone" and row["command"] != "compress"
    )
    return "\n".join(
        f"{count:4}  {command}: {why}" for (command, why), count in found.most_common()
    )


if __name__ == "__main__":
    sys.exit(main())
