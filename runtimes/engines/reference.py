"""The ONNX reference evaluator as a runtime: slow, simple, and what the specification means.

https://onnx.ai/onnx/api/reference.html
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
import onnx_ir as ir

from runtimes.base import Array, Feed, TensorSpec
from runtimes.engines.batching import check_feed, check_outputs
from runtimes.engines.placement import Placement
from runtimes.errors import ModelError, first_line
from runtimes.onnx_files.load_save import ModelSource, load_model, model_inputs, model_outputs
from runtimes.onnx_graph.quantized import is_quantized


class ReferenceRuntime:
    """One ONNX model in the reference evaluator.

    Raises ``ModelError`` naming the operator that it lacks.
    """

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    quantized: bool

    def __init__(self, model: ModelSource) -> None:
        from onnx.reference import ReferenceEvaluator

        graph = load_model(model)
        self.name = graph.graph.name or "the model" if graph is model else str(model)
        self.inputs, self.outputs = model_inputs(graph), model_outputs(graph)
        self.quantized = is_quantized(graph)
        self.source = model
        counts = sum(1 for _ in ir.traversal.RecursiveGraphIterator(graph.graph))
        self.placement = Placement("reference", {"ONNX reference evaluator": counts}, ())
        try:
            self._evaluator: Any = ReferenceEvaluator(ir.to_proto(graph))
        except Exception as error:  # it has no error class of its own
            raise ModelError(
                f"{self.name} does not load in the ONNX reference evaluator: {_line(error)}"
            ) from error

    def run(self, feed: Feed, outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """Run one batch: ``DataError`` if the feed does not fit, ``ModelError`` if a node fails."""
        check_feed(feed, self.inputs, self.name)
        names = [spec.name for spec in self.outputs] if outputs is None else list(outputs)
        check_outputs(names, self.outputs, self.name)
        try:
            with np.errstate(all="ignore"):
                found = self._evaluator.run(names, dict(feed))
        except Exception as error:
            raise ModelError(
                f"{self.name} failed in the ONNX reference evaluator: {_line(error)}"
            ) from error
        return dict(zip(names, (np.asarray(value) for value in found), strict=True))

    def prepare(self, feed: Feed) -> Callable[[], object]:
        """Check ``feed`` once and give a function that runs it, for timing."""
        self.run(feed)
        return lambda: self._evaluator.run(None, dict(feed))

    def close(self) -> None:
        """Let go of the model."""
        self._evaluator = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {first_line(error)}"
