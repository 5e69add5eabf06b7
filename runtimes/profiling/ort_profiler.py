"""How long each operator of a model takes, as measured by ONNX Runtime's own profiler."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

import onnx_ir as ir

from runtimes.atomic_files import scratch_folder
from runtimes.base import Feed
from runtimes.engines.batching import check_feed
from runtimes.engines.ort import OrtRuntime
from runtimes.engines.ort_events import read_events


@dataclass(frozen=True)
class OperatorTime:
    """Median time of one node of the optimized graph, in microseconds.

    ``name`` is the node's name; where ONNX Runtime changed the node, it may derive a new name from
    the output's.
    """

    name: str
    op_type: str
    microseconds: float


def operator_times(
    model: ir.Model, feed: Feed, *, threads: int | None = None, runs: int = 20
) -> list[OperatorTime]:
    """Run ``model`` on ``feed`` under the profiler; returns times in order of execution.

    The profiler adds about a microsecond to each node: compare nodes, but do not add them up.
    """
    with scratch_folder() as folder:
        prefix = str(folder / "profile")
        with OrtRuntime(model, threads=threads, profile_prefix=prefix) as runtime:
            check_feed(feed, runtime.inputs, runtime.name)
            for _ in range(3):
                runtime.run(feed)
            for _ in range(runs):
                runtime.run(feed)
            events = read_events(runtime.end_profiling())
    return [
        OperatorTime(
            name,
            str(ran[-1]["args"]["op_name"]),
            statistics.median([float(event["dur"]) for event in ran[len(ran) - runs :]]),
        )
        for name, ran in events.items()
    ]
