"""``inspect_model``: inputs, outputs, operators, weights and what kilnx recognises in a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from runtimes.atomic_files import scratch_folder
from runtimes.engines.ort import OrtRuntime
from runtimes.errors import KilnxError, first_line
from runtimes.inspection.recognize import recognize
from runtimes.onnx_files.load_save import (
    ModelSource,
    load_model,
    model_bytes,
    model_inputs,
    model_outputs,
)
from runtimes.onnx_graph.values import all_nodes
from runtimes.readable import ReadableReport


@dataclass(frozen=True)
class ModelInspection(ReadableReport):
    """What an ONNX file holds.

    Attributes:
        model: Its file, or the name of the graph.
        opsets: Version of every operator set, by domain (``ai.onnx`` is the standard one).
        ir_version: Of the file format.
        producer: What wrote the file.
        inputs: ``name: type[shape]``.
        outputs: The same.
        size_bytes: The file with its external data.
        parameters: Elements of all weights.
        weights: Bytes of weights by element type.
        operators: Nodes by operator type, those of other domains with their domain; subgraphs
            included.
        run: The same after ONNX Runtime's optimization; None where it does not open the file.
        recognized: One sentence for everything that compression meets or makes.
        notes: What could not be found out.
    """

    model: str
    opsets: Mapping[str, int]
    ir_version: int
    producer: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    size_bytes: int
    parameters: int
    weights: Mapping[str, int]
    operators: Mapping[str, int]
    run: Mapping[str, int] | None
    recognized: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def headline(self) -> str:
        """Size, parameters and operators in one line."""
        return (
            f"{self.model}: {_size(self.size_bytes)}, {self.parameters:,} parameters, "
            f"{sum(self.operators.values())} nodes"
        )

    def rows(self) -> Sequence[dict[str, str]]:
        """The facts, one a row."""
        return [{"": name, self.model: text} for name, text in self.facts().items()]

    def facts(self) -> dict[str, str]:
        """The facts by name, as text."""
        run = "not known" if self.run is None else f"{sum(self.run.values())} nodes"
        held = {f"{name} weights": _size(size) for name, size in self.weights.items()}
        return {
            "size": _size(self.size_bytes),
            "parameters": f"{self.parameters:,}",
            **held,
            "opset": ", ".join(
                str(version) if domain == "ai.onnx" else f"{domain} {version}"
                for domain, version in self.opsets.items()
            ),
            "IR version": str(self.ir_version),
            "written by": self.producer or "not said",
            "operators": f"{sum(self.operators.values())} nodes",
            "run by ONNX Runtime": run,
        }


def inspect_model(model: ModelSource) -> ModelInspection:
    """Say what an ONNX file holds, and what ONNX Runtime makes of its operators.

    Args:
        model: An ONNX file or an ``onnx_ir.Model``.

    Returns:
        Inputs, outputs, operators, weights, and what kilnx recognises.

    Raises:
        ModelError: The file cannot be read as a model.

    Example:
        >>> inspect_model("model.onnx").operators
        {'MatMul': 2, 'Relu': 1}
    """
    graph = load_model(model)
    run, notes = _run(graph)
    held = list(_weights(graph))
    weights: Counter[str] = Counter()
    for tensor in held:
        weights[_type(tensor)] += tensor.nbytes
    return ModelInspection(
        model=str(model) if graph is not model else str(graph.graph.name or "the model"),
        opsets={domain or "ai.onnx": version for domain, version in graph.opset_imports.items()},
        ir_version=graph.ir_version,
        producer=" ".join(filter(None, (graph.producer_name, graph.producer_version))),
        inputs=tuple(map(str, model_inputs(graph))),
        outputs=tuple(map(str, model_outputs(graph))),
        size_bytes=model_bytes(graph),
        parameters=sum(tensor.size for tensor in held),
        weights=dict(weights.most_common()),
        operators=_counted(graph),
        run=run,
        recognized=recognize(graph, run),
        notes=notes,
    )


def _type(tensor: ir.TensorProtocol) -> str:
    """Its element type as NumPy calls it."""
    return "string" if tensor.dtype == ir.DataType.STRING else tensor.dtype.numpy().name


def _size(count: int) -> str:
    return f"{count} bytes" if count < 1000 else f"{count / 2**10:,.1f} KiB"


def _weights(model: ir.Model) -> Iterator[ir.TensorProtocol]:
    for graph in model.graphs():
        for value in graph.initializers.values():
            if value.const_value is not None:
                yield value.const_value


def _counted(model: ir.Model) -> dict[str, int]:
    """Nodes by type, the most frequent first and equals by name."""
    counts = Counter(
        f"{node.domain}.{node.op_type}" if node.domain else node.op_type
        for node in all_nodes(model)
    )
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _run(model: ir.Model) -> tuple[dict[str, int] | None, tuple[str, ...]]:
    """The operators that ONNX Runtime runs, or a note why they are not known."""
    try:
        with scratch_folder() as folder:
            path = folder / "optimized.onnx"
            # The level behind this one only changes the layout of tensors.
            with OrtRuntime(model, optimization="extended", optimized_model_path=path):
                pass
            optimized = ir.load(path, format="protobuf")
    except KilnxError as error:
        return None, (f"ONNX Runtime does not open it: {first_line(error)}",)
    return _counted(optimized), ()
