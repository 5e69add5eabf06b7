"""Where a model's time goes: operators by Keras layer, precision and provider, with a roofline.

Times come from ONNX Runtime's own profiler and are those of the optimized graph. Layers are
recovered from the names that survive, shapes from the profile, weights from the optimized file.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from runtimes.atomic_files import scratch_folder
from runtimes.base import Feed
from runtimes.engines.ort import NO_SPINNING, OrtRuntime
from runtimes.engines.ort_events import read_events
from runtimes.onnx_files.load_save import ModelSource, load_model
from runtimes.onnx_graph.flops import moved_bytes, multiplies, operations
from runtimes.onnx_graph.layer_names import QUANTIZING, layer_of
from runtimes.onnx_graph.origins import Origins
from runtimes.profiling.roofline import Roof, measure_roof
from runtimes.readable import ReadableReport

# The first runs allocate memory that later ones reuse.
_WARM_UP = 3


@dataclass(frozen=True)
class OperatorProfile:
    """One node of the optimized graph.

    ``microseconds`` is its median time per run and ``share`` its share of the time of all nodes.
    ``operations`` and ``bytes`` are per run; ``gflops`` and ``gigabytes_per_s`` are the rates that
    it reached. ``fused_nodes`` are the model's nodes that ONNX Runtime fused into it. ``layer`` is
    None if no name identifies the layer.
    """

    node: str
    op_type: str
    layer: str | None
    precision: str
    provider: str
    microseconds: float
    share: float
    operations: float
    bytes: float
    gflops: float
    gigabytes_per_s: float
    memory_bound: bool
    fused_nodes: tuple[str, ...]


@dataclass(frozen=True)
class OperatorsReport(ReadableReport):
    """All nodes of the optimized graph in order of execution.

    ``fused``: how many of the model's nodes were fused into another one. ``stayed_float``: the
    nodes of an INT8 model that still multiply in float.
    """

    batch: int
    operators: tuple[OperatorProfile, ...]
    roof: Roof
    nodes: int
    fused: int
    stayed_float: tuple[str, ...]

    def by_layer(self) -> list[tuple[str, float]]:
        """Microseconds of each layer, the slowest first."""
        return _summed((one.layer or "(no layer)", one.microseconds) for one in self.operators)

    def by_type(self) -> list[tuple[str, float]]:
        """Microseconds of each operator type, the slowest first."""
        return _summed((one.op_type, one.microseconds) for one in self.operators)

    def headline(self) -> str:
        """What the machine can do, and how many nodes were fused."""
        return (
            f"roof: {self.roof.gflops:.0f} GFLOP/s float32, {self.roof.gigabytes_per_s:.0f} GB/s; "
            f"{self.fused} of {self.nodes} nodes were fused into others"
        )

    def rows(self, limit: int | None = None) -> list[dict[str, str]]:
        """One row of formatted cells per operator, the slowest first."""
        ordered = sorted(self.operators, key=lambda one: -one.microseconds)
        return [
            {
                "layer": one.layer or "–",
                "operator": one.op_type,
                "precision": one.precision,
                "provider": one.provider.removesuffix("ExecutionProvider"),
                "time": f"{one.microseconds:.0f} µs",
                "share": f"{one.share:.1%}",
                "GFLOP/s": f"{one.gflops:.1f}",
                "GB/s": f"{one.gigabytes_per_s:.1f}",
                "bound by": "memory" if one.memory_bound else "arithmetic",
            }
            for one in ordered[:limit]
        ]


def profile_operators(
    model: ModelSource,
    feed: Feed,
    *,
    provider: str = "cpu",
    threads: int | None = None,
    runs: int = 20,
    roof: Roof | None = None,
    allow_fallback: bool = False,
) -> OperatorsReport:
    """Run ``model`` (a path or a graph) on ``feed`` under the profiler.

    The profiler adds about a microsecond to each node, so the shares of small nodes are too large.
    """
    graph = load_model(model)
    with scratch_folder() as folder:
        optimized_path = folder / "optimized.onnx"
        with OrtRuntime(
            model,
            provider=provider,
            threads=threads,
            config=NO_SPINNING,
            profile_prefix=str(folder / "profile"),
            optimized_model_path=optimized_path,
            allow_fallback=allow_fallback,
        ) as runtime:
            for _ in range(_WARM_UP + runs):
                runtime.run(feed)
            events = read_events(runtime.end_profiling())
        optimized = load_model(optimized_path)
        ir.external_data.load_to_model(optimized)
    roof = roof or measure_roof(threads)
    source = _Source(graph, optimized)
    after = {str(node.name): node for node in optimized.graph}
    found = _kernels(events, runs)
    total = sum(one.microseconds for one in found) or 1.0
    operators = tuple(_operator(one, after.get(one.name), source, roof, total) for one in found)
    quantized = any("int8" in one.precision for one in operators)
    kept = {str(node.name) for node in optimized.graph}
    return OperatorsReport(
        batch=next((len(array) for array in feed.values() if array.ndim), 0),
        operators=operators,
        roof=roof,
        nodes=len(graph.graph),
        fused=len({name for one in operators for name in one.fused_nodes} - kept),
        stayed_float=tuple(
            one.node
            for one in operators
            if quantized and multiplies(one.op_type) and "int8" not in one.precision
        ),
    )


@dataclass(frozen=True)
class _Kernel:
    """What the profiler reported about one node."""

    name: str
    op_type: str
    provider: str
    microseconds: float
    inputs: list[tuple[str, list[int]]]
    outputs: list[tuple[str, list[int]]]


class _Source:
    """The model before optimization, to find its layers again."""

    def __init__(self, model: ir.Model, optimized: ir.Model) -> None:
        self.origins = Origins(model, optimized)
        paths = {layer for node in model.graph if (layer := layer_of(node))}
        self._paths = sorted(paths, key=len, reverse=True)

    def layer(self, node: ir.Node | None, name: str) -> str | None:
        """The layer, found by the fused nodes, the outputs, the name's prefix or the inputs."""
        origins = self.origins
        taken = [origins.nodes[one] for one in origins.fused(node)]
        ends = [origins.end(node) if node else None, origins.nodes.get(name)]
        for known in (*(one for one in taken if multiplies(one.op_type)), *ends):
            if known is not None and (layer := layer_of(known)):
                return layer
        for path in self._paths:
            if name == path or name.startswith((f"{path}/", f"{path}_")):
                return path
        for value in node.inputs if node else ():
            producer = None if value is None else origins.producers.get(str(value.name))
            if producer is not None and (layer := layer_of(producer)):
                return layer
        return None

    def unpadded(self, node: ir.Node | None, inputs: Sequence[tuple[str, Sequence[int]]]) -> float:
        """The share of a convolution's work that is not padding.

        The blocked channel layout pads the channels to whole blocks, so the weights grow.
        """
        if node is None or node.op_type != "Conv" or len(inputs) < 2:
            return 1.0
        ends: list[ir.Node | None] = [self.origins.nodes[one] for one in self.origins.fused(node)]
        ends = ends or [self.origins.end(node)]
        for end in ends:
            if end is not None and end.op_type == "Conv" and end.inputs[1] is not None:
                weights = end.inputs[1].const_value
                if weights is not None:
                    own = math.prod(weights.shape.numpy())
                    return min(1.0, own / max(math.prod(inputs[1][1]), 1))
        return 1.0


def _kernels(events: Mapping[str, Sequence[Mapping[str, Any]]], runs: int) -> list[_Kernel]:
    found = []
    for name, ran in events.items():
        last, times = ran[-1]["args"], [float(event["dur"]) for event in ran]
        # A node inside a loop runs several times per run; its cost is the sum.
        often = max(1, len(times) // (_WARM_UP + runs))
        found.append(
            _Kernel(
                name=name,
                op_type=str(last["op_name"]),
                provider=str(last.get("provider", "")),
                microseconds=statistics.median(times[-runs:]) * often,
                inputs=_shapes(last.get("input_type_shape", ())),
                outputs=_shapes(last.get("output_type_shape", ())),
            )
        )
    return found


def _shapes(told: Sequence[Mapping[str, list[int]]]) -> list[tuple[str, list[int]]]:
    return [(kind, list(shape)) for one in told for kind, shape in one.items()]


def _operator(
    kernel: _Kernel, node: ir.Node | None, source: _Source, roof: Roof, total: float
) -> OperatorProfile:
    inputs = _with_weights(kernel.inputs, node)
    kind = kernel.op_type
    count = operations(kind, [shape for _, shape in inputs], [s for _, s in kernel.outputs])
    count *= source.unpadded(node, inputs)
    moved = moved_bytes(inputs, kernel.outputs)
    seconds = max(kernel.microseconds, 0.5) * 1e-6
    return OperatorProfile(
        node=kernel.name,
        op_type=kind,
        layer=source.layer(node, kernel.name),
        precision=_precision(kernel),
        provider=kernel.provider,
        microseconds=kernel.microseconds,
        share=kernel.microseconds / total,
        operations=count,
        bytes=moved,
        gflops=count / seconds / 1e9,
        gigabytes_per_s=moved / seconds / 1e9,
        memory_bound=roof.memory_bound(count, moved),
        fused_nodes=source.origins.fused(node),
    )


def _with_weights(
    told: Sequence[tuple[str, list[int]]], node: ir.Node | None
) -> list[tuple[str, list[int]]]:
    """The kernel's inputs, including the weights that the profiler leaves out.

    A weight that was repacked for the kernel has lost its shape, or is not among the inputs.
    """
    present = [value for value in node.inputs if value is not None] if node else []
    missing = len(present) - len(told)
    inputs, rest = [], list(told)
    for value in present:
        weight = value.const_value
        shape = None if weight is None else list(weight.shape.numpy())
        if shape is None or weight is None or (rest and rest[0][1] == shape):
            inputs += rest[:1]
            rest = rest[1:]
        elif missing > 0:
            inputs.append((weight.dtype.name.lower(), shape))
            missing -= 1
        else:
            inputs.append((rest[0][0] if rest else weight.dtype.name.lower(), shape))
            rest = rest[1:]
    return [*inputs, *rest]


def _precision(kernel: _Kernel) -> str:
    kinds = [kind for kind, _ in (*kernel.inputs[:1], *kernel.outputs[:1])]
    if kernel.op_type in QUANTIZING:
        return "float32 ↔ int8"
    if any(kind in ("int8", "uint8") for kind in kinds) or "Integer" in kernel.op_type:
        return "int8"
    if kernel.op_type.startswith("DynamicQuantize"):
        return "int8 dynamic"
    return {"float": "float32", "double": "float64"}.get(kinds[0], kinds[0]) if kinds else "–"


def _summed(pairs: Any) -> list[tuple[str, float]]:
    sums: dict[str, float] = defaultdict(float)
    for name, value in pairs:
        sums[name] += value
    return sorted(sums.items(), key=lambda pair: -pair[1])
