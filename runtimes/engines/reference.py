"""The ONNX reference evaluator as a runtime: slow, simple, and true to the specification.

https://onnx.ai/onnx/api/reference.html
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from runtimes.base import Array, Feed
from runtimes.engines.placement import Placement
from runtimes.engines.reference_operators.table import operators_for
from runtimes.engines.runtime import Loaded, Runtime, name_of
from runtimes.engines.self_contained import self_contained
from runtimes.onnx_files.load_save import (
    ModelSource,
    load_model,
    model_inputs,
    model_outputs,
    optional_inputs,
)
from runtimes.onnx_graph.quantized import is_quantized


class ReferenceRuntime(Runtime):
    """One ONNX model in the reference evaluator.

    Args:
        model: The path of an ONNX file, or a graph.

    Raises:
        ModelError: The evaluator lacks an operator; the message names it.
    """

    engine = "the ONNX reference evaluator"

    def __init__(self, model: ModelSource) -> None:
        super().__init__(model, name=name_of(model))

    def _load(self, source: ModelSource) -> Loaded:
        import onnx
        from onnx.reference import ReferenceEvaluator

        graph = load_model(source)
        operators = operators_for(graph.opset_imports.get("", 1))
        self._evaluator = ReferenceEvaluator(_evaluable(graph), new_ops=operators)
        count = sum(1 for _ in ir.traversal.RecursiveGraphIterator(graph.graph))
        placement = Placement("reference", {"ONNX reference evaluator": count}, ())
        return Loaded(
            model_inputs(graph),
            model_outputs(graph),
            placement,
            is_quantized(graph),
            optional_inputs(graph),
            onnx.__version__,
        )

    def _run(self, feed: Feed, names: Sequence[str]) -> Sequence[Array]:
        with np.errstate(all="ignore"):
            found = self._evaluator.run(names, dict(feed))
        return [np.asarray(value) for value in found]

    def _prepare(self, feed: Feed) -> Callable[[], object]:
        arrays, run, names = dict(feed), self._evaluator.run, self._output_names

        def call() -> None:
            with np.errstate(all="ignore"):
                run(names, arrays)

        return call

    def _unload(self) -> None:
        self._evaluator = None


def _evaluable(graph: ir.Model) -> Any:
    """The model as a proto in which every node output has a name.

    The evaluator stores an unnamed output under the empty name, where it would then find a value
    for inputs that are left out.
    """
    copy = self_contained(graph)
    for place, node in enumerate(ir.traversal.RecursiveGraphIterator(copy.graph)):
        for output in node.outputs:
            if not output.name:
                output.name = f"unnamed {place}.{output.index()}"
    return ir.to_proto(copy)
