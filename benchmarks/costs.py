"""How well does the cost table predict the latency of whole models?

    python benchmarks/costs.py MODEL.onnx... [--batch 1] [--seconds 1.0] [--rounds 5] [--json FILE]

Every model is predicted from its kernels, and then timed whole: all models in turns, in several
rounds with new sessions, one thread, the median of each round's faster half, the fastest round.
Yardsticks run beside every round, as they do when kernels are measured, so that a machine that
is slower for a while is not held against the prediction. Prints a line a model, the rank
correlation (Spearman) and the median and largest error. Give the models that a search sees: float,
pruned, mixed, INT8.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from runtimes.base import Feed  # noqa: E402
from runtimes.costs import Costs, open_costs  # noqa: E402
from runtimes.costs.measure import speed_now  # noqa: E402
from runtimes.data.timing_inputs import made_up_inputs  # noqa: E402
from runtimes.engines.batching import fixed_batch  # noqa: E402
from runtimes.engines.ort import NO_SPINNING, OrtRuntime  # noqa: E402
from runtimes.onnx_files.load_save import load_model, model_inputs  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each model in each round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    costs = open_costs()
    feeds = {path: feed_of(path, options.batch) for path in options.models}
    predicted = {path: costs.predict(path, feed).microseconds for path, feed in feeds.items()}
    timed: dict[Path, float] = {}
    for _ in range(options.rounds):
        for path, feed in feeds.items():
            found = whole(path, feed, options.seconds) * speed_now(costs.table)
            timed[path] = min(found, timed.get(path, found))
    return report(costs, predicted, timed, options.json)


def feed_of(path: Path, batch: int) -> Feed:
    """Random inputs of so many samples, or as many as the model takes."""
    inputs = model_inputs(load_model(path))
    return made_up_inputs(inputs, fixed_batch(inputs) or batch).feed


def whole(path: Path, feed: Feed, seconds: float) -> float:
    """Microseconds of a run in a session of its own: the median of the faster half."""
    with OrtRuntime(path, threads=1, config=NO_SPINNING) as runtime:
        run, found = runtime.prepare(feed), []
        for _ in range(5):
            run()
        end = time.perf_counter() + seconds
        while time.perf_counter() < end or len(found) < 10:
            start = time.perf_counter()
            run()
            found.append(time.perf_counter() - start)
    return statistics.median(sorted(found)[: (len(found) + 1) // 2]) * 1e6


def report(
    costs: Costs, predicted: dict[Path, float], timed: dict[Path, float], output: Path | None
) -> int:
    """Print the table, and write it where asked."""
    rows = []
    for path, guess in predicted.items():
        error = guess / timed[path] - 1
        rows.append({"model": str(path), "predicted": guess, "timed": timed[path], "error": error})
        print(f"{path.stem:32} {guess:9.0f} µs predicted {timed[path]:9.0f} µs timed {error:+7.1%}")
    errors = [abs(float(str(row["error"]))) for row in rows]
    correlation = spearman(list(predicted.values()), [timed[path] for path in predicted])
    print(
        f"{len(rows)} models on {costs.table.machine}: rank correlation {correlation:.3f}, "
        f"error {statistics.median(errors):.1%} in the median, {max(errors):.1%} at most"
    )
    if output is not None:
        document = {"machine": str(costs.table.machine), "rank": correlation, "models": rows}
        output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 0


def spearman(one: list[float], other: list[float]) -> float:
    """The correlation of ranks; 1 of a single pair."""
    if len(one) < 2:
        return 1.0
    ranks = [np.argsort(np.argsort(values)) for values in (one, other)]
    return float(np.corrcoef(*ranks)[0, 1])


if __name__ == "__main__":
    sys.exit(main())
