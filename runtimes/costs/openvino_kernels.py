"""What OpenVINO's kernels cost: the nodes of its runtime model, timed in the model they run in.

OpenVINO fuses most of a model into its convolutions and matrix products, over Q/DQ as well, so
that single operators do not add up to a model. Its own counters are asked instead: they give the
time of every kernel of the compiled model, and which nodes of the file went into it.
"""

from __future__ import annotations

import time
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from runtimes.base import Feed
from runtimes.costs.kernels import Executed, Kernel, Tensor
from runtimes.engines.openvino_nodes import RuntimeNode, compile_model, runtime_nodes
from runtimes.onnx_files.load_save import ModelSource, load_model, model_inputs

_WARM_UP = 2
_FEWEST_RUNS, _MOST_RUNS = 8, 40
_SECONDS = 1.5


@dataclass(frozen=True)
class Timed:
    """A model's kernels, and the shortest whole run that was not counted, in microseconds."""

    executed: tuple[Executed, ...]
    whole: float

    @property
    def beside(self) -> float:
        """What a run takes beside its kernels."""
        spent = sum(min(one.microseconds) for one in self.executed)
        return max(self.whole - spent, 0.0)


def time_kernels(
    model: ModelSource, feed: Feed, *, threads: int | None, known: Container[str]
) -> Timed:
    """The kernels of ``model`` on ``feed``; it is run unless all are ``known``, by signature."""
    loaded = _Loaded.open(load_model(model), feed, threads)
    if all(kernel.signature in known for kernel in loaded.kernels):
        return loaded.timed()
    end, rounds = np.inf, 0
    while rounds < _FEWEST_RUNS + _WARM_UP or (
        rounds < _MOST_RUNS + _WARM_UP and time.perf_counter() < end
    ):
        loaded.run(keep=rounds >= _WARM_UP)
        rounds += 1
        if rounds == _WARM_UP:
            end = time.perf_counter() + _SECONDS
    return loaded.timed()


def faster_half(durations: Sequence[float]) -> float:
    """The mean of the faster half, which other work on the machine disturbs less."""
    ordered = np.sort(np.asarray(durations))
    return float(ordered[: max(1, (len(ordered) + 1) // 2)].mean())


@dataclass(frozen=True)
class _Loaded:
    """A model compiled twice: with counters, and without for the time of the whole."""

    nodes: tuple[RuntimeNode, ...]
    kernels: tuple[Kernel, ...]
    origins: tuple[tuple[str, ...], ...]
    counted: Any
    plain: Any
    arrays: Mapping[int, Any]
    durations: dict[str, list[float]]
    wholes: list[float]

    @classmethod
    def open(cls, model: ir.Model, feed: Feed, threads: int | None) -> _Loaded:
        compiled = compile_model(model, threads=threads, counts=True)
        plain = compile_model(model, threads=threads)
        nodes, names = tuple(runtime_nodes(compiled)), _Names(model)
        return cls(
            nodes,
            tuple(_kernel(node, names, feed) for node in nodes),
            tuple(names.of(node) for node in nodes),
            compiled.create_infer_request(),
            plain.create_infer_request(),
            {place: feed[spec.name] for place, spec in enumerate(model_inputs(model))},
            {},
            [],
        )

    def run(self, *, keep: bool) -> None:
        """One run each, and what they took if it is to be kept."""
        start = time.perf_counter()
        self.plain.infer(self.arrays, share_inputs=True)
        whole = time.perf_counter() - start
        self.counted.infer(self.arrays, share_inputs=True)
        if not keep:
            return
        self.wholes.append(whole * 1e6)
        for one in self.counted.profiling_info:
            spent = one.real_time.total_seconds() * 1e6
            self.durations.setdefault(one.node_name, []).append(spent)

    def timed(self) -> Timed:
        """What became of the runs; what was optimized away takes no time."""
        triples = zip(self.nodes, self.kernels, self.origins, strict=True)
        found = (
            Executed(kernel, node.name, origins, tuple(self.durations.get(node.name, (0.0,))))
            for node, kernel, origins in triples
        )
        return Timed(tuple(found), min(self.wholes, default=0.0))


class _Names:
    """The nodes of a model, by what OpenVINO calls the steps that it made of them."""

    def __init__(self, model: ir.Model) -> None:
        self._nodes = {str(node.name): node for node in model.graph}
        for node in model.graph:
            for value in node.outputs:
                self._nodes.setdefault(str(value.name), node)

    def of(self, node: RuntimeNode) -> tuple[str, ...]:
        """Names of the model's nodes that went into ``node``, in order."""
        found = (self._node(origin) for origin in node.origins)
        return tuple(dict.fromkeys(str(one.name) for one in found if one is not None))

    def types(self, node: RuntimeNode) -> list[str]:
        """Their operators."""
        return [self._nodes[name].op_type for name in self.of(node)]

    def _node(self, origin: str) -> ir.Node | None:
        """The node called ``origin``, or what of it is in front of a slash, as much as possible."""
        while origin and origin not in self._nodes:
            origin = origin.rpartition("/")[0]
        return self._nodes.get(origin)


def _kernel(node: RuntimeNode, names: _Names, feed: Feed) -> Kernel:
    sizes = ", ".join("x".join(map(str, np.shape(array))) for array in feed.values())
    signature = (
        f"{node.kind}({', '.join(node.reads)}) {{{' '.join(names.types(node))}}} -> "
        f"{', '.join(node.writes)} by {node.primitive} for {sizes}"
    )
    inputs = tuple(map(_read, node.reads))
    return Kernel(signature, node.kind, inputs, can_be_isolated=False, node=None, opsets={})


def _read(told: str) -> Tensor:
    """``f32[1,8]`` as a tensor; without a shape where some axis is not known."""
    kind, _, axes = told.rstrip("]").partition("[")
    sizes = [axis for axis in axes.split(",") if axis]
    known = all(size.isdigit() for size in sizes)
    return Tensor(kind, tuple(map(int, sizes)) if known else ())
