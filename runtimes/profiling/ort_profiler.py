"""How long each operator of a model takes, as measured by ONNX Runtime's own profiler."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from dataclasses import dataclass

import onnx_ir as ir

from runtimes.atomic_files import scratch_folder
from runtimes.base import Feed
from runtimes.engines.batching import check_feed
from runtimes.engines.ort import OrtRuntime

_SUFFIX = "_kernel_time"


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
            path = runtime.end_profiling()
        events = json.loads(path.read_text(encoding="utf-8"))
    found: dict[str, list[float]] = defaultdict(list)
    kinds: dict[str, str] = {}
    for event in events:
        name = str(event.get("name", ""))
        if event.get("cat") == "Node" and name.endswith(_SUFFIX):
            own = name.removesuffix(_SUFFIX)
            found[own].append(float(event["dur"]))
            kinds[own] = str(event["args"]["op_name"])
    return [
        OperatorTime(name, kinds[name], statistics.median(times[len(times) - runs :]))
        for name, times in found.items()
    ]
