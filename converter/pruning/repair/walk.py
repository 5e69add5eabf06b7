"""Running a model over all samples up to one node after another, each node once.

What lies between the nodes that have run and those that have not is kept for all samples, in
memory or, beyond the memory that is allowed, in files; so the walk costs one run of the model
whatever the number of stops, and weights behind the stop may change on the way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import onnx_ir as ir

from runtimes.atomic_files import scratch_folder
from runtimes.base import Array
from runtimes.data.dataset import Dataset
from runtimes.engines.batching import as_taken, fixed_batch
from runtimes.engines.ort import OrtRuntime
from runtimes.onnx_files.load_save import model_inputs
from runtimes.onnx_graph.values import is_constant


@dataclass(frozen=True)
class WalkOptions:
    """``batch_size`` samples a run, ``threads`` of a run, ``memory_bytes`` kept in memory."""

    batch_size: int = 32
    threads: int = 1
    memory_bytes: int = 1 << 30


class Walk:
    """One model, stopped before one of its nodes, over ``data`` bound to its inputs.

    As a context manager it removes its files.
    """

    def __init__(self, model: ir.Model, data: Dataset, options: WalkOptions) -> None:
        self._model, self._data, self._options = model, data, options
        self._reads = [_reads(node) for node in model.graph]
        self._place = {str(node.name): place for place, node in enumerate(model.graph)}
        self._stop = 0
        self._kept: dict[str, list[Array]] = {}
        self._stack = ExitStack()
        self._folder: Path | None = None
        self._files = 0
        self._held = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._kept.clear()
        self._stack.close()

    def over(self, model: ir.Model) -> Walk:
        """A walk over ``model``, which does the same up to here, stopped where this one is.

        What the model goes on with has to be known here; where it is not, the walk is a new one.
        """
        other = Walk(model, self._data, self._options)
        at = next((node for node, place in self._place.items() if place == self._stop), "")
        stop = other._place.get(at, 0)
        live = other._live(stop)
        if all(name in self._kept for name in live):
            other._stop = stop
            other._kept = {name: self._kept[name] for name in live}
            other._held = self._held
        return other

    def advance(self, node: str) -> None:
        """Run everything before the node called ``node``; it may not lie behind."""
        stop = self._place[node]
        if stop < self._stop:
            raise ValueError(f"the walk is past {node!r} already")
        wanted = [name for name in self._live(stop) if name not in self._kept]
        found: dict[str, list[Array]] = {name: [] for name in wanted}
        if wanted:
            for batch in self.batches(wanted):
                for name, arrays in found.items():
                    arrays.append(self._keep(batch[name]))
        live = self._live(stop)
        self._kept = {
            name: arrays for name, arrays in {**self._kept, **found}.items() if name in live
        }
        self._held = sum(
            a.nbytes for arrays in self._kept.values() for a in arrays if _in_memory(a)
        )
        self._stop = stop

    def batches(self, names: Sequence[str]) -> Iterator[dict[str, Array]]:
        """The values called ``names``, batch by batch, computed from the stop onwards."""
        fed = [spec.name for spec in model_inputs(self._model)]
        computed = [n for n in dict.fromkeys(names) if n not in self._kept and n not in fed]
        with ExitStack() as stack:
            runtime, inputs = None, [name for name in names if name in fed]
            if computed:
                part = self._part(computed)
                runtime = stack.enter_context(OrtRuntime(part, threads=self._options.threads))
                inputs += [spec.name for spec in runtime.inputs if spec.name not in self._kept]
            for index, feed in enumerate(self._feeds(inputs)):
                given = {name: arrays[index] for name, arrays in self._kept.items()}
                given.update(feed)
                found = {} if runtime is None else self._run(runtime, given, computed)
                yield {name: found[name] if name in found else given[name] for name in names}

    def _run(
        self, runtime: OrtRuntime, given: Mapping[str, Array], names: Sequence[str]
    ) -> dict[str, Array]:
        feed = {spec.name: np.asarray(given[spec.name]) for spec in runtime.inputs}
        return runtime.run(feed, names)

    def _feeds(self, inputs: Sequence[str]) -> Iterator[dict[str, Array]]:
        """Batches of these inputs of the model; without any, as many as there are batches."""
        if not inputs:
            count = len(next(iter(self._kept.values()), []))
            yield from ({} for _ in range(count))
            return
        specs = model_inputs(self._model)
        fixed = fixed_batch(specs)
        for batch in self._data.batches(fixed or self._options.batch_size):
            yield as_taken({name: batch.feed[name] for name in inputs}, specs, fixed)

    def _part(self, names: Sequence[str]) -> ir.Model:
        """The model from what is kept to the values called ``names``."""
        graph = self._model.graph
        given = [value for value in _values(self._model) if value.name in self._kept]
        bounds = [*given, *(value for value in graph.inputs if value not in given)]
        part = ir.convenience.extract(graph, bounds, list(names))
        for value in tuple(part.inputs):
            if not value.uses() or is_constant(value):
                part.inputs.remove(value)
            elif value.shape is None and str(value.name) in self._kept:
                value.shape = ir.Shape([None] * self._kept[str(value.name)][0].ndim)
        functions = [function.clone() for function in self._model.functions.values()]
        return ir.Model(part, ir_version=self._model.ir_version, functions=functions)

    def _live(self, stop: int) -> list[str]:
        """Names of the values that nodes before ``stop`` give to later ones."""
        later = {value for reads in self._reads[stop:] for value in reads}
        before = [value for node in list(self._model.graph)[:stop] for value in node.outputs]
        return [str(value.name) for value in before if value in later]

    def _keep(self, array: Array) -> Array:
        # Strings are objects: a file of them cannot be mapped.
        if array.dtype.hasobject or self._held + array.nbytes <= self._options.memory_bytes:
            self._held += array.nbytes
            return array
        if self._folder is None:
            self._folder = self._stack.enter_context(scratch_folder())
        path = self._folder / f"{self._files}.npy"
        self._files += 1
        np.save(path, array)
        mapped: Array = np.load(path, mmap_mode="r")
        path.unlink()  # the mapping keeps the bytes until nobody needs them
        return mapped


def _in_memory(array: Array) -> bool:
    return not isinstance(array, np.memmap)


def _reads(node: ir.Node) -> list[ir.Value]:
    """Values that ``node`` or its subgraphs read."""
    values = [value for value in node.inputs if value is not None]
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH and not attribute.is_ref():
            for inner in ir.traversal.RecursiveGraphIterator(attribute.as_graph()):
                values += [value for value in inner.inputs if value is not None]
    return values


def _values(model: ir.Model) -> Iterator[ir.Value]:
    yield from model.graph.inputs
    for node in model.graph:
        yield from node.outputs
