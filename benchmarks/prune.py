"""How much can be pruned without training, and what do ranking, allocation and repair contribute?

    python benchmarks/prune.py --models FOLDER --output FOLDER [--only MODEL]... [--custom FILE]
                               [--share 0.5]... [--budget] [--compress]

FOLDER holds one folder per model: a Keras or ONNX file, ``calibration.npz``, ``test.npz``. For each
model and each share of its multiply-adds, on the same graph with the same groups:

    kilnx             second-order ranking, measured allocation, ridge repair
    kilnx, unrepaired the same channels removed, nothing refitted
    uniform           second-order ranking, every group cut by the same share, ridge repair
    uniform, magnitude, unrepaired
    Torch-Pruning     its group magnitude criterion (p=2, mean over the group), every group cut by
                      the same share, unrepaired, because it expects the network to be retrained
    random, repaired

The reported figure is top-1 if there are labels, otherwise agreement with the whole model. Latency
is measured against the whole model, interleaved. ``--budget`` also prunes to ``--max-drop``,
``--compress`` prunes and quantizes to it. Results go to ``prune.json`` and ``prune.md``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from converter.compression.samples import resolve_budget  # noqa: E402
from converter.passes import optimize  # noqa: E402
from converter.pruning.groups.dependencies import find_dependencies  # noqa: E402
from converter.pruning.ranking.importance import by_weight_norm  # noqa: E402
from converter.pruning.ranking.ranking import GroupRanking, rank_groups  # noqa: E402
from converter.pruning.repair.sums import Problem  # noqa: E402
from converter.pruning.repair.walk import WalkOptions  # noqa: E402
from converter.pruning.search.allocation import allocate  # noqa: E402
from converter.pruning.search.cost import CostModel  # noqa: E402
from converter.pruning.search.offers import counted_ratios, offered_cuts  # noqa: E402
from converter.pruning.search.plan import Plan, cut, cut_and_repair, select  # noqa: E402
from converter.pruning.search.sensitivity import measure_influence  # noqa: E402
from converter.report.report import describe_machine  # noqa: E402
from runtimes import Dataset, check, evaluate, profile  # noqa: E402
from runtimes.onnx_files.load_save import model_inputs  # noqa: E402
from runtimes.onnx_graph.values import constant  # noqa: E402
from runtimes.parity.budget import Budget  # noqa: E402

SHARES = (0.75, 0.5, 0.35, 0.22, 0.15, 0.1)
STEP = 0.75


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--only", action="append", help="a folder of --models")
    parser.add_argument("--custom", type=Path, help="Python file with custom layers")
    parser.add_argument("--share", type=float, action="append", help="of the multiply-adds")
    parser.add_argument("--budget", action="store_true", help="prune to --max-drop too")
    parser.add_argument("--compress", action="store_true", help="prune and quantize to it too")
    parser.add_argument("--max-drop", type=float, default=0.01)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    folders = [f for f in sorted(options.models.iterdir()) if (f / "calibration.npz").exists()]
    results: dict[str, Any] = {"machine": describe_machine(), "models": {}}
    for folder in folders:
        if options.only and folder.name not in options.only:
            continue
        print(f"== {folder.name}", flush=True)
        path = onnx_file(folder, options.output, options.custom)
        found: dict[str, Any] = {"curve": curve(path, folder, options.share or SHARES)}
        if options.budget:
            found["budget"] = to_budget(path, folder, options.max_drop)
        if options.compress:
            found["compress"] = compressed(path, folder, options.output, options.max_drop)
        results["models"][folder.name] = found
        (options.output / "prune.json").write_text(json.dumps(results, indent=1) + "\n")
        (options.output / "prune.md").write_text(as_text(results["models"]))
    return 0


def onnx_file(folder: Path, output: Path, custom: Path | None) -> Path:
    """The model of a folder as an optimized ONNX file."""
    path = output / f"{folder.name}.onnx"
    sources = [file for file in folder.iterdir() if file.suffix in (".keras", ".h5", ".hdf5")]
    if not sources:
        ir.save(optimize(ir.load(folder / "model.onnx")), path)
        return path
    from converter import convert
    from runtimes.keras_models.load import import_keras, load_custom_objects

    import_keras()
    objects = load_custom_objects(custom) if custom else None
    convert(sources[0], path, custom_objects=objects, force=True)
    return path


def curve(path: Path, folder: Path, shares: Sequence[float]) -> list[dict[str, Any]]:
    """One row per share and method: what is left, how accurate and how fast it is."""
    model = optimize(ir.load(path))
    specs = model_inputs(model)
    calibration = Dataset.open(folder / "calibration.npz", inputs=specs)
    test = Dataset.open(folder / "test.npz", inputs=specs)
    problem = Problem(model, find_dependencies(model), calibration, WalkOptions())
    costs = CostModel(model, problem.dependencies, calibration)
    whole = costs.count(problem.dependencies.everything())
    rankings = {
        name: rank_groups(problem, name) for name in ("second-order", "weight-norm", "random")
    }
    rankings["torch-pruning"] = group_magnitude(problem)
    plans = measured_plans(problem, rankings["second-order"], costs, shares)
    rows = [judged("whole", model, model, test) | {"share": 1.0, "parameters": 1.0}]
    for share in shares:
        methods = {
            "kilnx": ("second-order", plans.get(share), True),
            "kilnx, unrepaired": ("second-order", plans.get(share), False),
            "uniform": ("second-order", None, True),
            "uniform, magnitude, unrepaired": ("weight-norm", None, False),
            "Torch-Pruning": ("torch-pruning", None, False),
            "random, repaired": ("random", None, True),
        }
        for method, (ranking, measured, repaired) in methods.items():
            if method.startswith("kilnx") and measured is None:
                continue
            plan = measured or uniform_plan(problem, rankings[ranking], costs, share)
            kept = select(problem, rankings[ranking], plan)
            start = time.perf_counter()
            pruned = cut_and_repair(problem, kept) if repaired else cut(problem, kept)
            seconds = time.perf_counter() - start
            cost = costs.count(kept)
            row = judged(method, model, pruned, test)
            row["target"], row["share"] = share, cost.macs / whole.macs
            row["parameters"] = cost.parameters / whole.parameters
            row["seconds"] = seconds
            rows.append(row)
            print(" ", {k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()})
    return rows


def judged(method: str, whole: ir.Model, pruned: ir.Model, test: Dataset) -> dict[str, Any]:
    """Top-1, or agreement with the whole model; and latency against it."""
    meant = resolve_budget(whole, test, Budget())[0].metric
    metric = meant.split(",")[0] if meant else None
    if metric is not None:
        figure = evaluate(pruned, test, metric, threads=1)
    else:
        parity = check(whole, pruned, test, min_agreement=0.0, stress="none", threads=1)
        figure = min(out.agreement for out in parity.outputs if out.agreement is not None)
    speed = profile(pruned, against=whole, data=test, threads=1, min_time=0.5).batches[0]
    return {
        "method": method,
        "metric": metric or "agreement",
        "figure": figure,
        "speedup": speed.ratio,
    }


def measured_plans(
    problem: Problem, rankings: Sequence[GroupRanking], costs: CostModel, shares: Sequence[float]
) -> dict[float, Plan]:
    """How kilnx would distribute each share of multiply-adds over the groups."""
    influence = measure_influence(problem, rankings)
    everything = counted_ratios(costs, problem.dependencies.everything(), "macs")
    plans: dict[float, Plan] = {}
    plan: Plan = {}
    for share in sorted(shares, reverse=True):
        while True:
            kept = select(problem, rankings, plan)
            left = everything([kept])[0]
            if left <= share:
                plans[share] = plan
                break
            ratio = counted_ratios(costs, kept, "macs")
            offers = offered_cuts(problem, rankings, plan, influence, ratio)
            chosen = allocate(offers, max(STEP, share / left))
            if not any(chosen):
                return plans
            cuts = zip(rankings, chosen, strict=True)
            now = {r.name: plan.get(r.name, len(r.units)) - one.units for r, one in cuts if one}
            plan = {**plan, **now}
    return plans


def uniform_plan(
    problem: Problem, rankings: Sequence[GroupRanking], costs: CostModel, share: float
) -> Plan:
    """The largest uniform share of all groups that the multiply-adds allow."""
    ratio = counted_ratios(costs, problem.dependencies.everything(), "macs")

    def plan(keep: float) -> Plan:
        return {r.name: max(1, round(keep * len(r.units))) for r in rankings}

    keeps = np.linspace(1, 0, 401)
    fits = (k for k in keeps if ratio([select(problem, rankings, plan(k))])[0] <= share)
    return plan(next(fits, 0.0))


def group_magnitude(problem: Problem) -> tuple[GroupRanking, ...]:
    """Torch-Pruning's GroupMagnitudeImportance (p=2, group_reduction and normalizer "mean").

    The squared norm of each channel's slice of every weight that a group touches, producers and
    consumers alike, averaged over the weights of the group. https://arxiv.org/abs/2301.12900
    """
    nodes = {str(node.name): node for node in problem.reference.graph}
    partition = problem.dependencies.partition
    totals, counts = np.zeros(partition.units), np.zeros(partition.units)
    for use in problem.dependencies.uses:
        array = constant(nodes[use.node].inputs[use.input])
        if array is None or array.ndim < 2:
            continue
        rows = np.moveaxis(array.astype(np.float64), use.axis, 0).reshape(len(use.channels), -1)
        unit = partition.unit_of[use.channels]
        np.add.at(totals, unit, (rows**2).sum(axis=1))
        np.add.at(counts, unit, 1)
    scores = totals / np.maximum(counts, 1)
    rankings = []
    for group in problem.dependencies.groups:
        if group.is_open:
            found = by_weight_norm(scores[group.units] / scores[group.units].mean())
            rankings.append(GroupRanking(group, group.units[found.order], found.costs))
    return tuple(rankings)


def to_budget(path: Path, folder: Path, max_drop: float) -> dict[str, Any]:
    """The result of ``kilnx prune``."""
    from converter import prune

    start = time.perf_counter()
    report = prune(
        path,
        None,
        folder / "calibration.npz",
        evaluate_on=folder / "test.npz",
        max_drop=max_drop,
    )
    print(f"  {report.reason}", flush=True)
    return {**report.to_dict(), "seconds": time.perf_counter() - start}


def compressed(path: Path, folder: Path, output: Path, max_drop: float) -> dict[str, Any]:
    """The result of ``kilnx compress``: pruned, then INT8."""
    from converter import compress
    from converter.report.html import summary

    start = time.perf_counter()
    report = compress(
        path,
        output / f"{folder.name}-compressed",
        folder / "calibration.npz",
        evaluate_on=folder / "test.npz",
        max_drop=max_drop,
        force=True,
    )
    print(f"  {summary(report)}", flush=True)
    return {**report.to_dict(), "seconds": time.perf_counter() - start}


def as_text(models: dict[str, Any]) -> str:
    """One table per model: a row per share of multiply-adds, figure and speed-up by method."""
    lines = []
    for name, found in models.items():
        whole, *rows = found["curve"]
        methods = list(dict.fromkeys(row["method"] for row in rows))
        lines += [f"## {name}: {whole['figure']:.1%} {whole['metric']}", ""]
        lines += [
            "| multiply-adds | " + " | ".join(methods) + " |",
            "|---" * (len(methods) + 1) + "|",
        ]
        for share in dict.fromkeys(row["target"] for row in rows):
            cells = {row["method"]: _cell(row) for row in rows if row["target"] == share}
            shown = " | ".join(cells.get(method, "–") for method in methods)
            lines.append(f"| {share:.2f}× | {shown} |")
        lines.append("")
        for key in ("budget", "compress"):
            if key in found:
                steps = [step["reason"] for step in found[key].get("steps", ())]
                lines += [f"{key}: {found[key].get('reason') or '; '.join(steps)}", ""]
    return "\n".join(lines)


def _cell(row: dict[str, Any]) -> str:
    return f"{row['figure']:.1%}, {row['speedup']:.2f}×"


if __name__ == "__main__":
    sys.exit(main())
