"""An ONNX graph run in parts, from one chosen value to the next."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from runtimes.base import Array, Feed
from runtimes.engines.open_runtime import open_runtime
from runtimes.engines.ort import NO_SPINNING
from runtimes.onnx_graph.layer_names import QUANTIZING
from runtimes.onnx_graph.subgraphs import between, extract_submodel, last_uses, needs

# A session of one batch gains nothing from memory that it keeps and weights that it rearranges.
_CONFIG = {**NO_SPINNING, "session.disable_prepacking": "1"}


@dataclass(frozen=True)
class Part:
    """What makes one value out of the chosen values, and inputs of the graph, before it.

    ``value`` is the name that later parts read. ``output`` is what is taken: where the value is
    quantized and nothing else, its dequantized form, so that the kernels are the INT8 ones.
    """

    value: ir.Value
    output: ir.Value
    inputs: list[ir.Value]
    nodes: list[ir.Node]


class PartedModel:
    """An ONNX model cut at ``values`` (some of its own, in topological order).

    A part is opened on ``provider`` for each batch and closed again: sessions keep memory.
    """

    def __init__(
        self,
        model: ir.Model,
        values: Sequence[ir.Value],
        *,
        provider: str = "cpu",
        threads: int | None = None,
    ) -> None:
        self.model = model
        self.provider, self.threads = provider, threads
        order = {id(node): place for place, node in enumerate(model.graph)}
        chosen = {id(value): value for value in values}
        self.parts = []
        for value in values:
            output = shown_as(value)
            stop = [v for v in chosen.values() if v is not value and v is not output]
            nodes = sorted(between(stop, [output]), key=lambda node: order[id(node)])
            made = {id(v) for node in nodes for v in node.outputs}
            read = {id(v): v for node in nodes for v in needs(node) if id(v) not in made}
            inputs = [v for v in read.values() if id(v) in chosen or not v.is_initializer()]
            self.parts.append(Part(value, output, inputs, nodes))

    def last_uses(self) -> list[list[str]]:
        """For each part, the names of the values that no later part reads."""
        return last_uses([[str(v.name) for v in (part.value, *part.inputs)] for part in self.parts])

    def run_part(
        self, part: Part, *runs: Mapping[str, Array], provider: str | None = None
    ) -> list[Array]:
        """The part's output for each of ``runs``, which hold values by name."""
        feeds = [{str(v.name): values[str(v.name)] for v in part.inputs} for values in runs]
        model = self.as_model(part, feeds[0])
        with open_runtime(
            model, provider or self.provider, threads=self.threads, config=_CONFIG, arena=False
        ) as runtime:
            return [runtime.run(feed)[str(part.output.name)] for feed in feeds]

    def as_model(self, part: Part, feed: Feed) -> ir.Model:
        """The part as a model of its own, for inputs like those of ``feed``."""
        types = {name: (array.dtype, array.ndim) for name, array in feed.items()}
        return extract_submodel(self.model, part.inputs, [part.output], part.nodes, types)

    def walk(self, feed: Feed, emit: Callable[[Part, Array], None]) -> None:
        """Run all parts on one batch, each on what the parts before it gave."""
        values = dict(feed)
        for part, dead in zip(self.parts, self.last_uses(), strict=True):
            (found,) = self.run_part(part, values)
            values[str(part.value.name)] = found
            emit(part, found)
            for name in dead:
                values.pop(name, None)


def float_values(model: ir.Model) -> list[ir.Value]:
    """Values inside the graph that depend on its inputs and may be floats, topological order.

    Values in quantized form are left out: they are seen dequantized, by ``shown_as``.
    """
    varying = {id(v) for v in model.graph.inputs if not v.is_initializer()}
    found = []
    for node in model.graph:
        if not any(id(v) in varying for v in needs(node)):
            continue
        varying |= {id(value) for value in node.outputs}
        if node.op_type in QUANTIZING and not node.outputs[0].is_graph_output():
            continue
        found += [v for v in node.outputs if v.name and (v.uses() or v.is_graph_output())]
    return found


def shown_as(value: ir.Value) -> ir.Value:
    """The dequantized form of a value that is only ever used quantized, else itself."""
    users = [node for node, _ in value.uses()]
    if value.is_graph_output() or len(users) != 1 or users[0].op_type != "QuantizeLinear":
        return value
    readers = [node for node, _ in users[0].outputs[0].uses()]
    if readers and all(node.op_type == "DequantizeLinear" for node in readers):
        return readers[0].outputs[0]
    return value
