"""What replicas of stages in processes hold in memory, with weights of their own and shared.

    python benchmarks/stages_shared.py [--width 4096] [--replicas 2]

A network of three products, of which the first and the last have one weight, in two stages. Each
replica is a pipeline over two processes. Counted is the proportional memory (PSS) of the processes
of all stages: a page that several have mapped counts once.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))


def write_tied(path: Path, width: int) -> None:
    """Write the network, with ``w`` twice and ``v`` between."""
    import onnx

    rng, helper = np.random.default_rng(0), onnx.helper
    weights = [
        onnx.numpy_helper.from_array(
            rng.standard_normal((width, width), np.float32) / np.float32(width) ** 0.5, name
        )
        for name in "wv"
    ]
    nodes = []
    for number, (read, weight, gives) in enumerate(
        (("x", "w", "a"), ("b", "v", "c"), ("d", "w", "y"))
    ):
        nodes.append(helper.make_node("MatMul", [read, weight], [gives], name=f"p{number}"))
        if gives != "y":
            after = chr(ord(gives) + 1)
            nodes.append(helper.make_node("Relu", [gives], [after], name=after))
    values = [helper.make_tensor_value_info(name, 1, ["N", width]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "net", values[:1], values[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, path)


def held(stages: Path, replicas: int, feed: dict[str, Any], **sharing: Any) -> tuple[int, Any]:
    """PSS of all processes of stages, and an answer."""
    from runtimes import Pipeline, SharedWeights
    from runtimes.profiling.memory import proportional_bytes

    with ExitStack() as stack:
        shared = stack.enter_context(SharedWeights(threads=1, **sharing)) if sharing else None
        every = [stack.enter_context(Pipeline(stages, shared=shared)) for _ in range(replicas)]
        found = [one.run(feed)["y"] for one in every]
        seats = [seat for one in every for seat in one._seats]
        pids = [seat.runtime._process._process.pid for seat in seats]
        return sum(proportional_bytes(pid) for pid in pids), found[0]


def main() -> None:
    """Print a row for each number of replicas and each way to hold weights."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--width", type=int, default=4096)
    parser.add_argument("--replicas", type=int, default=2)
    args = parser.parse_args()
    from runtimes.stages.partition import partition

    with tempfile.TemporaryDirectory() as name:
        model, folder = Path(name) / "net.onnx", Path(name) / "stages"
        write_tied(model, args.width)
        partition(model, folder, stages=2, even_if_slower=True, costs="none")
        feed = {"x": np.random.default_rng(1).standard_normal((1, args.width), np.float32)}
        pool = Path(name) / "pool"
        ways: dict[str, dict[str, Any]] = {
            "own weights": {},
            "shared": {"folder": pool, "arena": False},
            "shared, prepacked": {"folder": pool, "arena": False, "prepack": True},
        }
        held(folder, 1, feed, **ways["shared"])  # which fills the pool
        print(f"the model has {2 * 4 * args.width**2 / 1e6:.0f} MB of weights")
        whole = None
        for replicas in (1, args.replicas):
            for way, sharing in ways.items():
                size, answer = held(folder, replicas, feed, **sharing)
                whole = answer if whole is None else whole
                same = "same bits" if np.array_equal(whole, answer) else "other last bits"
                print(f"{replicas} pipelines, {way:18} {size / 1e6:6.0f} MB, {same}", flush=True)


if __name__ == "__main__":
    main()
