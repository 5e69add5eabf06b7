"""ONNX Runtime as a runtime: https://onnxruntime.ai/docs/api/python/api_summary.html."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx_ir as ir

from runtimes.base import Array, Feed, TensorSpec
from runtimes.engines.ort_bfloat16 import is_bfloat16, run_narrow
from runtimes.engines.ort_cuda import CudaOptions, prepare_bound, refuse_quantized, run_bound
from runtimes.engines.ort_errors import explain, is_onnxruntimes
from runtimes.engines.ort_install import require_onnxruntime
from runtimes.engines.ort_options import ON_NVIDIA
from runtimes.engines.ort_session import (
    FATAL,
    Optimization,
    SessionSettings,
    open_session,
    require_provider,
)
from runtimes.engines.placement import judge_placement, read_placement
from runtimes.engines.provider_names import PROVIDERS, WITH_OPERATORS
from runtimes.engines.runtime import Loaded, Runtime, name_of
from runtimes.errors import ModelError
from runtimes.onnx_files.load_save import ModelSource, load_graph
from runtimes.onnx_graph.quantized import first_quantized_node, is_quantized

__all__ = ["NO_SPINNING", "PROVIDERS", "Optimization", "OrtRuntime", "explain"]

NO_SPINNING = {"session.intra_op.allow_spinning": "0"}
"""For sessions that alternate with other work, which spinning threads would slow down."""


class OrtRuntime(Runtime):
    """One ONNX model in one ONNX Runtime session.

    Args:
        model: The path of an ONNX file, or a graph.
        provider: One of ``PROVIDERS``; on ``cuda``, INT8 models are refused.
        threads: The number of intra-op threads; by default ONNX Runtime chooses.
        optimization: ONNX Runtime's graph optimization level.
        optimized_model_path: Where to write the graph after ONNX Runtime's optimizations.
        config: Further session configuration entries.
        profile_prefix: Path prefix for the profiler's output, see ``end_profiling``.
        arena: Whether to keep memory between runs, which is faster.
        allow_fallback: Whether nodes may run on a provider other than ``provider``.
        cuda: Options of the GPU, for ``cuda`` and ``tensorrt``.
        initializers: Maps names of initializers to ``OrtValue`` objects that replace them; their
            memory can be shared with other sessions.

    Raises:
        RuntimeUnavailable: The provider is not available, or a node would run on another one.
        ModelError: The model does not load; the message names the node.
    """

    engine = "ONNX Runtime"

    def __init__(
        self,
        model: ModelSource,
        *,
        provider: str = "cpu",
        threads: int | None = None,
        optimization: Optimization = "all",
        optimized_model_path: str | os.PathLike[str] | None = None,
        config: Mapping[str, str] | None = None,
        profile_prefix: str | None = None,
        arena: bool = True,
        allow_fallback: bool = False,
        cuda: CudaOptions | None = None,
        initializers: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self._allow_fallback = allow_fallback
        self._initializers = initializers  # the session uses their memory without keeping it alive
        self._cuda = (cuda or CudaOptions()) if provider in ON_NVIDIA else None
        self._settings = SessionSettings(
            provider,
            threads,
            optimization,
            optimized_model_path,
            config or {},
            profile_prefix,
            arena,
            self._cuda,
            allow_fallback=allow_fallback,
        )
        super().__init__(model, name=name_of(model), threads=threads)

    def end_profiling(self) -> Path:
        """Write what the profiler recorded and return the file (JSON, Chrome's trace format)."""
        return Path(self._session.end_profiling())

    def _load(self, source: ModelSource) -> Loaded:
        self._ort = require_onnxruntime()
        provider = self._settings.provider
        require_provider(provider, self._ort.get_available_providers())
        # Also for a path: our checks run before ONNX Runtime's parser sees the file.
        self._graph: ir.Model | None = _graph_of(source)
        quantized = is_quantized(self._graph)
        if provider == "cuda" and first_quantized_node(self._graph) is not None:
            raise refuse_quantized(self.name)
        settings = replace(self._settings, quantized=quantized)
        self._session = open_session(self._ort, source, settings, self._initializers)
        values = (*self._graph.graph.inputs, *self._graph.graph.outputs)
        self._any_rank = {value.name for value in values if value.shape is None}
        self._graph = None  # needed only to explain errors up to this point
        self._run_options = self._ort.RunOptions()
        self._run_options.log_severity_level = FATAL
        placement = judge_placement(
            read_placement(self._session),
            provider,
            PROVIDERS[provider],
            allow_fallback=self._allow_fallback,
            model=self.name,
        )
        session = self._session
        optional = tuple(self._spec(node) for node in session.get_overridable_initializers())
        if provider not in WITH_OPERATORS:  # they take defaults for constants, and say nothing
            optional = ()
        inputs = tuple(self._spec(node) for node in session.get_inputs())
        outputs = tuple(self._spec(node) for node in session.get_outputs())
        self._narrow = any(is_bfloat16(spec.dtype) for spec in (*inputs, *outputs))
        version = str(getattr(self._ort, "__version__", ""))
        return Loaded(inputs, outputs, placement, quantized, optional, version)

    def _run(self, feed: Feed, names: Sequence[str]) -> Sequence[Array]:
        if self._cuda:
            return run_bound(self._session, feed, names, self._run_options)
        if self._narrow:
            return run_narrow(self._session, names, feed, self._run_options)
        found: list[Array] = self._session.run(names, dict(feed), self._run_options)
        return found

    def _prepare(self, feed: Feed) -> Callable[[], object]:
        if self._cuda:
            return prepare_bound(
                self._session,
                feed,
                self._output_names,
                self._run_options,
                to_device=partial(self._ort.OrtValue.ortvalue_from_numpy, **self._cuda.place()),
                device=self._cuda.device,
            )
        run, names, options = self._session.run, self._output_names, self._run_options
        arrays = dict(feed)
        return lambda: run(names, arrays, options)

    def _unload(self) -> None:
        self._session = None
        self._initializers = MappingProxyType({})

    def _is_models_fault(self, error: Exception) -> bool:
        return is_onnxruntimes(error)

    def _explain(self, error: Exception) -> str:
        return explain(error, self._graph)

    def _spec(self, node: Any) -> TensorSpec:
        kind = re.fullmatch(r"tensor\((\w+)\)", node.type)
        if kind is None:
            raise ModelError(
                f"{self.name}: {node.name!r} is a {node.type}; only tensors can go in and out"
            )
        dtype = _dtype(kind[1])
        if dtype is None:
            raise ModelError(f"{self.name}: {node.name!r} is a {node.type}, which numpy lacks")
        shape = tuple(node.shape)
        if not shape and node.name in self._any_rank:  # told apart from a scalar by the file only
            return TensorSpec(node.name, dtype, None)
        return TensorSpec(node.name, dtype, shape)


def _graph_of(model: ModelSource) -> ir.Model:
    return model if isinstance(model, ir.Model) else load_graph(model)


def _dtype(name: str) -> np.dtype[Any] | None:
    """The numpy dtype of one of ONNX Runtime's element types, such as ``float``."""
    numpy_names = {"float": "float32", "double": "float64", "string": "object"}
    if name != "bfloat16":
        try:
            return np.dtype(numpy_names.get(name, name))
        except TypeError:
            return None
    import ml_dtypes

    bfloat16: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
    return bfloat16
