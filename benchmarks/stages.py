"""What it costs to run a model as two stages in two processes.

    python benchmarks/stages.py [--seconds 2] [--rounds 3] [--case large]

Networks of dense layers run whole and as two stages in two processes, all of them on one core, so
that numbers are seconds of work and no hyperthread slows another. The best of each is taken over
the rounds, in which all take turns. ``stages_large.py`` is about memory.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Case:
    """A chain of dense layers of one width, and the samples of a request."""

    name: str
    width: int
    layers: int
    batch: int


CASES = (
    Case("small: 4 x 64, batch 1", 64, 4, 1),
    Case("4 x 512, batch 8", 512, 4, 8),
    Case("8 x 1024, batch 8", 1024, 8, 8),
    Case("8 x 1024, batch 32", 1024, 8, 32),
    Case("large: 8 x 2048, batch 64", 2048, 8, 64),
)


def write_network(path: Path, width: int, layers: int, *, data: str | None = None) -> None:
    """Write dense layers with ReLU; large weights go to ``data``, one after the other."""
    import onnx

    rng = np.random.default_rng(0)
    helper = onnx.helper
    nodes, weights, last, offset = [], [], "x", 0
    file = None if data is None else (path.parent / data).open("wb")
    for number in range(layers):
        weight = rng.standard_normal((width, width), np.float32) / np.float32(width) ** 0.5 * 1.4
        name = f"w{number}"
        if file is None:
            weights.append(onnx.numpy_helper.from_array(weight, name))
        else:
            file.write(weight.tobytes())
            one = onnx.TensorProto(name=name, dims=weight.shape, data_type=1)
            one.data_location = onnx.TensorProto.EXTERNAL
            where = {"location": data, "offset": offset, "length": weight.nbytes}
            for key, value in where.items():
                one.external_data.add(key=key, value=str(value))
            weights.append(one)
            offset += weight.nbytes
        nodes.append(helper.make_node("MatMul", [last, name], [f"p{number}"], name=f"p{number}"))
        last = "y" if number == layers - 1 else f"r{number}"
        nodes.append(helper.make_node("Relu", [f"p{number}"], [last], name=last))
    if file is not None:
        file.close()
    values = [helper.make_tensor_value_info(name, 1, ["N", width]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "net", values[:1], values[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, path)


def cpu_seconds(pids: list[int]) -> float:
    """What these processes have worked so far."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def children() -> list[int]:
    """The processes that this one has started and that still are there."""
    return [
        int(child)
        for task in Path("/proc/self/task").iterdir()
        for child in (task / "children").read_text().split()
    ]


def work_of(run: Callable[[int], Any], pids: list[int], seconds: float) -> float:
    """CPU seconds of a request, on average over those that take ``seconds``."""
    start = time.perf_counter()
    run(20)
    count = max(20, int(20 * seconds / (time.perf_counter() - start)))
    before = cpu_seconds(pids)
    run(count)
    return (cpu_seconds(pids) - before) / count


@contextmanager
def on_one_core() -> Iterator[None]:
    """Let this process and those it starts run on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def compare_work(case: Case, folder: Path, seconds: float, rounds: int) -> str:
    """A row: the work of a request by the whole model, and by its stages in one process and two."""
    from runtimes import Pipeline, open_runtime
    from runtimes.stages.partition import partition
    from runtimes.stages.staged import StagedRuntime

    model = folder / "net.onnx"
    write_network(model, case.width, case.layers)
    partition(model, folder / "stages", stages=2, even_if_slower=True, costs="none", force=True)
    feed = {"x": np.random.default_rng(1).standard_normal((case.batch, case.width), np.float32)}
    with ExitStack() as held:
        whole = held.enter_context(open_runtime(model, threads=1))
        staged = held.enter_context(StagedRuntime(folder / "stages"))
        before = set(children())
        pipeline = held.enter_context(Pipeline(folder / "stages"))
        everyone = [os.getpid(), *set(children()) - before]
        np.testing.assert_allclose(whole.run(feed)["y"], pipeline.run(feed)["y"], rtol=1e-4)

        def piped(count: int) -> None:
            for _ in pipeline.map(feed for _ in range(count)):
                pass

        ways: dict[str, tuple[Callable[[int], Any], list[int]]] = {
            "whole": (lambda count: [whole.run(feed) for _ in range(count)], everyone[:1]),
            "one process": (lambda count: [staged.run(feed) for _ in range(count)], everyone[:1]),
            "two processes": (piped, everyone),
        }
        found: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, (run, pids) in ways.items():
                found[name].append(1e6 * work_of(run, pids, seconds))
    best = {name: min(every) for name, every in found.items()}
    cells = [f"{name} {best[name]:8.1f} us ({best[name] / best['whole']:5.3f})" for name in ways]
    return f"{case.name:28} {'  '.join(cells)}"


def main() -> None:
    """Print a row for each case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--case", default="", help="only cases whose name has this in it")
    args = parser.parse_args()
    os.environ["PYTHONPATH"] = str(ROOT)
    for case in CASES:
        if args.case in case.name:
            with tempfile.TemporaryDirectory() as name, on_one_core():
                print(compare_work(case, Path(name), args.seconds, args.rounds), flush=True)


if __name__ == "__main__":
    main()
