"""OpenVINO as a runtime: a second engine that reads the same file.

https://docs.openvino.ai.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from types import TracebackType
from typing import Any, Self

import numpy as np
import onnx_ir as ir

from runtimes.base import Array, Feed, TensorSpec
from runtimes.engines.batching import check_feed, check_outputs
from runtimes.engines.placement import Placement
from runtimes.errors import ModelError, RuntimeUnavailable
from runtimes.onnx_files.load_save import ModelSource, load_model, model_inputs, model_outputs
from runtimes.onnx_graph.quantized import is_quantized


class OpenVinoRuntime:
    """One ONNX model on OpenVINO's CPU device, computing in float32.

    ``RuntimeUnavailable`` where OpenVINO is not installed, ``ModelError`` for a model that it does
    not read.
    """

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    quantized: bool

    def __init__(self, model: ModelSource, *, threads: int | None = None) -> None:
        openvino = require_openvino()
        graph = load_model(model)
        self.name = graph.graph.name or "the model" if graph is model else str(model)
        self.inputs, self.outputs = model_inputs(graph), model_outputs(graph)
        self.quantized = is_quantized(graph)
        self.source = model
        options = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        if threads is not None:
            options["INFERENCE_NUM_THREADS"] = str(threads)
        try:
            core = openvino.Core()
            read = core.read_model(ir.to_proto(graph).SerializeToString())
            compiled = core.compile_model(read, "CPU", options)
        except Exception as error:  # OpenVINO raises RuntimeError for everything
            raise ModelError(f"{self.name} does not load in OpenVINO: {_line(error)}") from error
        # Names of ports may be lost where outputs are only passed on: order is what is kept.
        self._ports = dict(zip((s.name for s in self.outputs), compiled.outputs, strict=True))
        self._request: Any = compiled.create_infer_request()
        devices = compiled.get_property("EXECUTION_DEVICES")
        nodes = len(compiled.get_runtime_model().get_ops())
        self.placement = Placement("openvino", {f"OpenVINO {' '.join(devices)}": nodes}, ())

    def run(self, feed: Feed, outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """Run one batch: ``DataError`` if the feed does not fit, ``ModelError`` if it fails."""
        check_feed(feed, self.inputs, self.name)
        names = [spec.name for spec in self.outputs] if outputs is None else list(outputs)
        check_outputs(names, self.outputs, self.name)
        try:
            found = self._request.infer(self._ordered(feed))
        except Exception as error:
            raise ModelError(f"{self.name} failed in OpenVINO: {_line(error)}") from error
        return {name: np.array(found[self._ports[name]]) for name in names}

    def prepare(self, feed: Feed) -> Callable[[], object]:
        """Check ``feed`` once and give a function that runs it, for timing."""
        self.run(feed)
        arrays, infer = self._ordered(feed), self._request.infer
        return lambda: infer(arrays, share_inputs=True)

    def close(self) -> None:
        """Let go of the model."""
        self._request = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _ordered(self, feed: Feed) -> dict[int, Array]:
        return {place: feed[spec.name] for place, spec in enumerate(self.inputs)}


def require_openvino() -> Any:
    """Import OpenVINO; ``RuntimeUnavailable`` with the command that installs it."""
    try:
        return import_module("openvino")
    except ImportError as error:
        raise RuntimeUnavailable(
            f"OpenVINO is not there ({error}): pip install 'kilnx[openvino]'"
        ) from error


def _line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:300]
