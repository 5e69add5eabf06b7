"""The kernels that ONNX Runtime runs for a model: fused, laid out, and with their shapes.

A kernel is what a node of the optimized graph does: its operator, attributes, and the dtypes and
shapes that it reads and writes. Its signature says all of that and nothing else, so that two nodes
of any two models with the same signature cost the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from runtimes.atomic_files import scratch_folder
from runtimes.base import Feed
from runtimes.engines.ort import NO_SPINNING, OrtRuntime
from runtimes.engines.ort_events import read_events
from runtimes.onnx_files.load_save import ModelSource, load_model
from runtimes.onnx_graph.node_names import has_node_names, with_node_names
from runtimes.onnx_graph.origins import Origins

# Longer constants are weights, of which only the shape matters.
_MOST_SHOWN = 32
# The graph that ONNX Runtime made is looked at, its weights mostly are not: they stay on disk.
_SAVING = {
    **NO_SPINNING,
    "session.optimized_model_external_initializers_file_name": "weights.bin",
    "session.optimized_model_external_initializers_min_size_in_bytes": "4096",
}
# Weights need no other order for a run that only tells shapes.
_UNPACKED = {"session.disable_prepacking": "1"}


@dataclass(frozen=True)
class Tensor:
    """What a kernel reads or writes: ``content`` of a small integer constant, by its digest."""

    dtype: str
    shape: tuple[int, ...]
    constant: bool = False
    content: str = ""

    def __str__(self) -> str:
        size = "x".join(map(str, self.shape))
        return f"{'=' if self.constant else ''}{self.dtype}[{size}]{self.content}"


@dataclass(frozen=True)
class Kernel:
    """One kernel, called ``signature``.

    ``inputs`` has None where an optional input is left out. ``can_be_isolated``: it takes the same
    time whatever it reads, so that numbers can be made up; integers steer what shape operators,
    lookups and loops do. ``node``: one that runs it, with weights of its own and no graph around
    it; only of a kernel that has yet to be measured.
    """

    signature: str
    op_type: str = field(compare=False)
    inputs: tuple[Tensor | None, ...] = field(compare=False)
    can_be_isolated: bool = field(compare=False)
    node: ir.Node | None = field(compare=False, repr=False)
    opsets: Mapping[str, int] = field(compare=False, repr=False)
    outputs: tuple[Tensor, ...] = field(default=(), compare=False, repr=False)


_GRAPHS = {ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS}
_FREE = frozenset({"float", "float16", "double", "uint8", "int8"})
# They read zeros as well as any other index.
_LOOKUPS = frozenset({"Gather", "GatherND", "EmbedLayerNormalization"})


@dataclass(frozen=True)
class Executed:
    """A kernel in a model: the node's ``name``, and the model's nodes that went into it.

    ``microseconds``: how long each of its runs took when the model was traced; ``times``: how often
    it runs in one run of the model.
    """

    kernel: Kernel
    name: str
    origins: tuple[str, ...]
    microseconds: tuple[float, ...]
    times: int = 1


def trace_kernels(
    model: ModelSource,
    feed: Feed,
    *,
    threads: int | None = 1,
    runs: int = 1,
    known: Container[str] = frozenset(),
) -> tuple[Executed, ...]:
    """The kernels of ``model`` (a path or a graph) in order, as they run on ``feed``.

    ``runs``: how often it is run under ONNX Runtime's profiler, which tells the shapes. ``known``:
    signatures of kernels that need not be measured, of which no weights are kept.
    """
    graph = load_model(model)
    if not has_node_names(graph):  # by which the profiler tells of nodes
        model = graph = with_node_names(graph)
    with scratch_folder() as folder:
        optimized_path = folder / "optimized.onnx"
        with OrtRuntime(
            model,
            threads=threads,
            config={**_SAVING, **(_UNPACKED if runs == 1 else {})},
            profile_prefix=str(folder / "profile"),
            optimized_model_path=optimized_path,
        ) as runtime:
            for _ in range(runs):
                runtime.run(feed)
            events = read_events(runtime.end_profiling())
        return _executed(graph, ir.load(optimized_path), events, runs, known)


def _executed(
    graph: ir.Model,
    optimized: ir.Model,
    events: Mapping[str, Sequence[Mapping[str, Any]]],
    runs: int,
    known: Container[str],
) -> tuple[Executed, ...]:
    origins = Origins(graph, optimized)
    found = []
    seen_kernels: dict[str, Kernel] = {}  # the weights of one of them are enough
    for node in optimized.graph:
        name = str(node.name)
        if name not in events:
            continue  # of the other branch of an If
        seen = events[name]
        opsets = dict(optimized.opset_imports)
        kernel = kernel_of(node, seen[-1]["args"], opsets, known, seen_kernels)
        kernel = seen_kernels.setdefault(kernel.signature, kernel)
        taken = origins.fused(node)
        if not taken and (end := origins.end(node)) is not None:
            taken = (str(end.name),)
        times = max(1, len(seen) // runs)
        durations = tuple(float(one["dur"]) for one in seen)
        found.append(Executed(kernel, name, taken, durations, times))
    return tuple(found)


def kernel_of(
    node: ir.Node,
    told: Mapping[str, Any],
    opsets: Mapping[str, int],
    known: Container[str] = frozenset(),
    held: Container[str] = frozenset(),
) -> Kernel:
    """The kernel that runs ``node``, of which the profiler ``told`` dtypes and shapes.

    Of those that are ``known``, or ``held`` with another node, no weights are kept.
    """
    inputs = _inputs(node, _tensors(told.get("input_type_shape", ())))
    written = _tensors(told.get("output_type_shape", ()))
    attributes = ", ".join(
        f"{name}={_shown(attribute)}" for name, attribute in sorted(node.attributes.items())
    )
    domain = f"{node.domain}." if node.domain else ""
    read = ", ".join("" if one is None else str(one) for one in inputs)
    signature = f"{domain}{node.op_type}({read}) {{{attributes}}} -> "
    signature += ", ".join(map(str, written))
    isolated = _can_be_isolated(node, inputs)
    wanted = isolated and signature not in known and signature not in held
    return Kernel(
        signature,
        node.op_type,
        inputs,
        isolated,
        _detached(node) if wanted else None,
        opsets,
        tuple(written),
    )


def _can_be_isolated(node: ir.Node, inputs: Sequence[Tensor | None]) -> bool:
    if any(attribute.type in _GRAPHS for attribute in node.attributes.values()):
        return False
    read = [one for one in inputs if one is not None and not one.constant]
    return all(one.dtype in _FREE or node.op_type in _LOOKUPS for one in read)


def _detached(node: ir.Node) -> ir.Node:
    """A copy with weights of its own, so that the model around it need not stay in memory."""
    inputs: list[ir.Value | None] = []
    for value in node.inputs:
        tensor = None if value is None else value.const_value
        copy = None if tensor is None else ir.tensor(np.array(tensor.numpy()), dtype=tensor.dtype)
        inputs.append(None if value is None else ir.Value(name=value.name, const_value=copy))
    made = copied(node, inputs, str(node.name))
    for mine, theirs in zip(made.outputs, node.outputs, strict=True):
        mine.name = theirs.name
    return made


def copied(node: ir.Node, inputs: Sequence[ir.Value | None], name: str) -> ir.Node:
    """A node that does the same with other ``inputs``; its outputs have no names yet."""
    return ir.Node(
        node.domain,
        node.op_type,
        inputs,
        list(node.attributes.values()),
        num_outputs=len(node.outputs),
        name=name,
    )


def _tensors(told: Sequence[Mapping[str, Sequence[int]]]) -> list[Tensor]:
    return [Tensor(kind, tuple(shape)) for one in told for kind, shape in one.items()]


def _inputs(node: ir.Node, told: list[Tensor]) -> tuple[Tensor | None, ...]:
    """The inputs in order; the profiler leaves out weights that were repacked."""
    found: list[Tensor | None] = []
    rest = list(told)
    for value in node.inputs:
        if value is None:
            found.append(None)
            continue
        tensor = value.const_value
        if tensor is None:
            found.append(rest.pop(0) if rest else Tensor("unknown", ()))
            continue
        shape = tuple(int(size) for size in tensor.shape.numpy())
        dtype = tensor.dtype.name.lower()
        if rest and rest[0].shape == shape and rest[0].dtype == dtype:
            rest.pop(0)
        found.append(Tensor(dtype, shape, constant=True, content=_content(tensor)))
    return tuple(found)


def _content(tensor: ir.TensorProtocol) -> str:
    """What a short constant of int64 holds: axes, sizes and the like decide what is done."""
    if tensor.dtype != ir.DataType.INT64 or tensor.size > _MOST_SHOWN:
        return ""
    return "{" + " ".join(str(int(n)) for n in np.ravel(tensor.numpy())) + "}"


def _shown(attribute: ir.Attr) -> str:
    if attribute.type in _GRAPHS or attribute.type == ir.AttributeType.TENSOR:
        written = ir.to_proto(attribute).SerializeToString(deterministic=True)
        return f"#{hashlib.sha256(written).hexdigest()[:16]}"
    value = attribute.value
    if isinstance(value, tuple | list):
        return "[" + " ".join(map(_plain, value)) + "]"
    return _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return f"{value:.8g}" if isinstance(value, float) else str(value)
