"""Could pruning work from sums that shards add up, and would more samples help it?

    python benchmarks/prune_sums.py --models FOLDER --output FOLDER [--only MODEL] [--share 0.5]

Sums over rows (XᵀX and XᵀT of each layer) can be added up over shards only where they are known
before anything is cut: those of the whole model. A cut layer can then be refitted to its own old
output from the channels that stay, but not to what the layers before it give it now, which are cut
and refitted themselves. The same cuts are refitted both ways, and kilnx' own way on fewer samples:

    whole model's sums   X and T of each layer from the whole model
    kilnx                X from the pruned and refitted model, T from the whole one
    kilnx, half, quarter the same on a half and a quarter of the samples, with as many rows

FOLDER is that of ``benchmarks/prune.py``; layers are fitted on ``test.npz``, which is larger, and
judged on ``calibration.npz``. Figures are top-1, or agreement with the whole model, and SQNR.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx_ir as ir

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from prune import onnx_file, uniform_plan  # noqa: E402

from converter.compression.samples import resolve_budget  # noqa: E402
from converter.passes import optimize  # noqa: E402
from converter.pruning.groups.dependencies import find_dependencies  # noqa: E402
from converter.pruning.ranking.ranking import rank_groups  # noqa: E402
from converter.pruning.repair import sums  # noqa: E402
from converter.pruning.repair.walk import Walk, WalkOptions  # noqa: E402
from converter.pruning.search.cost import CostModel  # noqa: E402
from converter.pruning.search.plan import cut_and_repair, select  # noqa: E402
from runtimes import Dataset, check, evaluate  # noqa: E402
from runtimes.base import Array  # noqa: E402
from runtimes.onnx_files.load_save import model_inputs  # noqa: E402
from runtimes.parity.budget import Budget  # noqa: E402

SHARES = (0.75, 0.5, 0.25)
SAMPLES = 1024


@contextmanager
def from_whole_model() -> Iterator[None]:
    """Let every refit see what the whole model gives a layer, in the channels that stay."""
    own = sums._Batches._by_input

    def rows(
        self: Any, walk: Walk, reference: Callable[[], Walk], most: int
    ) -> Iterator[tuple[Array, Array]]:
        layer, other = self._layer, self._other
        names = [self._whole.source] if other is None else [self._whole.source, other]
        batches = reference().batches(names)
        for (chosen, targets), whole in zip(self._targets(reference, most), batches, strict=False):
            x = layer.rows(self._cut(whole, self._whole.source), chosen)
            if other is None:
                yield x, targets
            else:
                yield x, targets - layer.targets(self._cut(whole, other), chosen)

    sums._Batches._by_input = rows  # type: ignore[method-assign]
    try:
        yield
    finally:
        sums._Batches._by_input = own  # type: ignore[method-assign]


def compare(path: Path, folder: Path, shares: list[float]) -> None:
    """Print a row for each share of the multiply-adds and each way to refit."""
    model = optimize(ir.load(path))
    specs = model_inputs(model)
    fitted = Dataset.open(folder / "test.npz", inputs=specs).sampled(SAMPLES)
    judges = Dataset.open(folder / "calibration.npz", inputs=specs)
    problem = sums.Problem(model, find_dependencies(model), fitted, WalkOptions())
    count = fitted.num_samples or 0
    fewer = {
        name: replace(problem, data=fitted.sampled(count // by))
        for name, by in (("half", 2), ("quarter", 4))
    }
    costs = CostModel(model, problem.dependencies, problem.data)
    rankings = rank_groups(problem)
    print(f"{folder.name}, {count} samples: {figure(model, model, judges)}", flush=True)
    for share in shares:
        kept = select(problem, rankings, uniform_plan(problem, rankings, costs, share))
        with from_whole_model():
            found = {"whole model's sums": cut_and_repair(problem, kept)}
        found["kilnx"] = cut_and_repair(problem, kept)
        for name, one in fewer.items():
            found[f"kilnx, {name}"] = cut_and_repair(one, kept)
        for name, pruned in found.items():
            print(f"  {share:.2f} {name:20} {figure(model, pruned, judges)}", flush=True)


def figure(whole: ir.Model, pruned: ir.Model, judges: Dataset) -> str:
    """Top-1 where there are labels, else agreement; and the worst output's SQNR."""
    meant = resolve_budget(whole, judges, Budget())[0].metric
    parity = check(whole, pruned, judges, min_agreement=0.0, stress="none", threads=1)
    agreement = min((o.agreement for o in parity.outputs if o.agreement is not None), default=0.0)
    noise = min(output.sqnr_db for output in parity.outputs)
    value = evaluate(pruned, judges, meant.split(",")[0], threads=1) if meant else agreement
    return f"{value:7.4f}  {noise:6.1f} dB"


def main() -> None:
    """Compare all models of a folder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--only", action="append")
    parser.add_argument("--share", type=float, action="append")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    for folder in sorted(options.models.iterdir()):
        named = not options.only or folder.name in options.only
        if named and (folder / "calibration.npz").exists():
            compare(onnx_file(folder, options.output, None), folder, options.share or [*SHARES])


if __name__ == "__main__":
    main()
