"""OpenVINO as a runtime: a second engine for the same ONNX file.

https://docs.openvino.ai.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from runtimes.base import Array, Feed
from runtimes.engines.openvino_layers import layers_of
from runtimes.engines.openvino_nodes import compile_model, require_openvino
from runtimes.engines.placement import Placement
from runtimes.engines.runtime import Loaded, Runtime, name_of
from runtimes.onnx_files.load_save import ModelSource, load_model, model_inputs, model_outputs
from runtimes.onnx_graph.quantized import is_quantized


class OpenVinoRuntime(Runtime):
    """One ONNX model on OpenVINO's CPU device, computing in float32.

    Its operators do not check shapes at run time: if dynamic dimensions turn out to be
    incompatible, the results are whatever was in memory, and there is no error.

    Args:
        model: The path of an ONNX file, or a graph.
        threads: The number of threads; by default OpenVINO chooses.

    Raises:
        RuntimeUnavailable: OpenVINO is not installed.
        ModelError: OpenVINO cannot read the model.
    """

    engine = "OpenVINO"

    def __init__(self, model: ModelSource, *, threads: int | None = None) -> None:
        super().__init__(model, name=name_of(model), threads=threads)

    def _load(self, source: ModelSource) -> Loaded:
        openvino = require_openvino()
        graph = load_model(source)
        compiled = compile_model(graph, threads=self.threads)
        found = Loaded(
            model_inputs(graph),
            model_outputs(graph),
            _placement(compiled, graph),
            is_quantized(graph),
            version=str(openvino.get_version()),
        )
        # Port names may be lost where an output is only passed through; the order is kept.
        self._ports = dict(zip((s.name for s in found.outputs), compiled.outputs, strict=True))
        self._compiled = compiled
        self._request = compiled.create_infer_request()
        return found

    def _run(self, feed: Feed, names: Sequence[str]) -> Sequence[Array]:
        found = self._request.infer(self._ordered(feed))
        return [np.array(found[self._ports[name]]) for name in names]

    def _prepare(self, feed: Feed) -> Callable[[], object]:
        # A request that shares the memory of its inputs takes no other shape from then on.
        arrays, infer = self._ordered(feed), self._compiled.create_infer_request().infer
        return lambda: infer(arrays, share_inputs=True)

    def _unload(self) -> None:
        self._request = self._compiled = None
        self._ports = {}

    def _explain(self, error: Exception) -> str:
        # The last line is the reason; the lines before it point into OpenVINO's source.
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return (lines[-1] if lines else type(error).__name__)[:300]

    def _ordered(self, feed: Feed) -> dict[int, Array]:
        return {place: feed[spec.name] for place, spec in enumerate(self.inputs)}


def _placement(compiled: Any, graph: ir.Model) -> Placement:
    devices = " ".join(compiled.get_property("EXECUTION_DEVICES"))
    nodes = len(compiled.get_runtime_model().get_ops())
    layers = layers_of(compiled, graph)
    return Placement("openvino", {f"OpenVINO {devices}": nodes}, (), layers)
