"""What pruning would gain at best if the parts that judge a cut were fitted side by side.

    python benchmarks/prune_folds.py --models FOLDER --output FOLDER [--only MODEL]

Every cut is fitted and judged on parts of the data, one after the other, and the later parts only
where the first ones did not decide. Their seconds are added up as they came, and as if all parts
that were asked had run at the same time, at no cost. FOLDER is that of ``benchmarks/prune.py``.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from prune import onnx_file  # noqa: E402

from converter import prune  # noqa: E402
from converter.pruning.search.folds import Trial  # noqa: E402


def compare(path: Path, folder: Path) -> str:
    """A row: seconds in all, cuts, those with several parts, and the gain at best."""
    seconds: dict[int, list[float]] = defaultdict(list)
    cuts: list[Trial] = []  # which keeps their identities apart
    own = Trial.go_on

    def timed(self: Trial) -> Any:
        if not any(one is self for one in cuts):
            cuts.append(self)
        start = time.perf_counter()
        found = own(self)
        seconds[id(self)].append(time.perf_counter() - start)
        return found

    Trial.go_on = timed  # type: ignore[method-assign]
    start = time.perf_counter()
    try:
        prune(path, None, folder / "test.npz", evaluate_on=folder / "calibration.npz")
    finally:
        Trial.go_on = own  # type: ignore[method-assign]
    total = time.perf_counter() - start
    in_turn = sum(map(sum, seconds.values()))
    saved = in_turn - sum(map(max, seconds.values()))
    several = sum(len(parts) > 1 for parts in seconds.values())
    return (
        f"{folder.name}: {total:.1f} s, {len(cuts)} cuts in {in_turn:.1f} s, {several} of them on "
        f"several parts; side by side {saved:.1f} s less, {total / (total - saved):.2f}x"
    )


def main() -> None:
    """Print a row for each model of a folder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--only", action="append")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    for folder in sorted(options.models.iterdir()):
        named = not options.only or folder.name in options.only
        if named and (folder / "calibration.npz").exists():
            print(compare(onnx_file(folder, options.output, None), folder), flush=True)


if __name__ == "__main__":
    main()
