"""What each part of a graph costs: time by the machine's cost table, bytes by what it holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from runtimes.base import Array, Feed
from runtimes.costs.predict import Prediction
from runtimes.engines.open_runtime import open_runtime
from runtimes.engines.ort_session import Optimization
from runtimes.onnx_graph.subgraphs import needs, with_outputs
from runtimes.stages.boundaries import Boundary, Span
from runtimes.stages.choose import Matrix, Segments

# So many intermediate values are held at the same time while their sizes are looked at.
_AT_ONCE = 32


@dataclass(frozen=True)
class Crossing:
    """What is known of a value that may travel: its dtype, its rank, its bytes for the samples."""

    dtype: np.dtype[np.generic]
    rank: int
    size: int


def times_of_nodes(
    nodes: Sequence[ir.Node], predicted: Prediction
) -> tuple[list[float], list[Span]]:
    """Microseconds of each node, and which of them run as one kernel.

    What a kernel takes counts for the last of the nodes that went into it, since no boundary is
    inside of them.
    """
    place = {str(node.name): number for number, node in enumerate(nodes)}
    times = [0.0] * len(nodes)
    spans = []
    for kernel, microseconds in predicted.kernels:
        known = [place[name] for name in (*kernel.origins, kernel.name) if name in place]
        if known:
            spans.append(Span(min(known), max(known)))
            times[max(known)] += microseconds
    return times, [span for span in spans if span.last > span.first]


def look_at_values(
    model: ir.Model, values: Iterable[ir.Value], feed: Feed, *, optimized: bool
) -> dict[str, Crossing]:
    """Run the model on ``feed`` and look at ``values``.

    ``optimized``: the graph is one that ONNX Runtime optimized, to be run as it is.
    """
    inputs = {str(value.name) for value in model.graph.inputs}
    names = list(dict.fromkeys(str(value.name) for value in values))
    found = {name: _seen(feed[name]) for name in names if name in inputs}
    computed = [name for name in names if name not in inputs]
    level: Optimization = "disabled" if optimized else "basic"
    for start in range(0, len(computed), _AT_ONCE):
        some = computed[start : start + _AT_ONCE]
        with open_runtime(with_outputs(model, some), optimization=level, threads=1) as runtime:
            found |= {name: _seen(array) for name, array in runtime.run(feed).items()}
    return found


def segments_of(
    nodes: Sequence[ir.Node],
    boundaries: Sequence[Boundary],
    times: Sequence[float],
    crossing: Mapping[str, Crossing],
) -> Segments:
    """Time and bytes of every stage that could be."""
    places = [0, *(one.position for one in boundaries), len(nodes)]
    until = np.concatenate([[0.0], np.cumsum(times)])[places]
    moved = [sum(crossing[str(v.name)].size for v in one.values) for one in boundaries]
    weights = _weights_between(nodes, places)
    return Segments(until[None, :] - until[:, None], weights, [0.0, *moved, 0.0])


def _weights_between(nodes: Sequence[ir.Node], places: Sequence[int]) -> Matrix:
    """Bytes of the weights from each place to each later one; what lies backwards has none to fit.

    A weight that several stages read counts in each, and once in a stage.
    """
    read = [
        {id(v): v.const_value.nbytes for v in needs(node) if v.const_value is not None}
        for node in nodes
    ]
    found = np.full((len(places), len(places)), np.inf)
    for first, start in enumerate(places[:-1]):
        held: dict[int, int] = {}
        total, position = 0, start
        for later in range(first + 1, len(places)):
            while position < places[later]:
                total += sum(size for key, size in read[position].items() if key not in held)
                held |= read[position]
                position += 1
            found[first, later] = total
    return found


def _seen(array: Array) -> Crossing:
    return Crossing(array.dtype, array.ndim, array.nbytes)
