"""ONNX Runtime as a runtime: https://onnxruntime.ai/docs/api/python/api_summary.html."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Literal, Self

import numpy as np
import onnx_ir as ir

from runtimes.base import Array, Feed, TensorSpec
from runtimes.engines.batching import check_feed, check_outputs
from runtimes.engines.ort_bfloat16 import is_bfloat16, run_narrow
from runtimes.engines.ort_cuda import CudaOptions, prepare_bound, refuse_quantized, run_bound
from runtimes.engines.ort_install import require_onnxruntime
from runtimes.engines.placement import RECORD, Placement, judge_placement, read_placement
from runtimes.errors import ModelError, RuntimeUnavailable
from runtimes.onnx_files.load_save import ModelSource, load_graph, weight_bytes
from runtimes.onnx_graph.quantized import is_quantized

Optimization = Literal["disabled", "basic", "extended", "all"]

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
"""The providers that kilnx knows, by the names that users give them."""

NO_SPINNING = {"session.intra_op.allow_spinning": "0"}
"""For sessions that take turns with other work: threads that spin would slow that down."""

# A protobuf message cannot exceed 2 GiB: larger models reach the session through files.
_IN_MEMORY_BELOW_BYTES = 1_500_000_000
_FATAL = 4  # every error is raised as an exception as well: printing it too is noise


class OrtRuntime:
    """One ONNX model in one ONNX Runtime session.

    ``threads`` is the number of intra-op threads (None: ONNX Runtime's own choice).
    ``optimized_model_path``: where to write the graph as ONNX Runtime optimized it.
    ``config`` holds further session configuration entries. ``profile_prefix``: where to write
    the times of the operators, see ``end_profiling``. ``arena``: keep memory between runs, which
    is faster. ``placement`` says which provider runs each node; one that is not the one asked
    for is ``RuntimeUnavailable`` unless ``allow_fallback``. ``cuda``: options of that provider,
    on which INT8 models are refused. ``initializers``: ``OrtValue`` by name in the place of the
    model's own, which it shares with whoever else has them. A provider that is not there is
    ``RuntimeUnavailable``, a model that does not load is ``ModelError`` naming the node;
    ONNX Runtime's silent fallback to another provider is off. ``optional_inputs`` have a default
    in the file, which holds where a feed leaves them out.
    """

    name: str
    inputs: tuple[TensorSpec, ...]
    optional_inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    quantized: bool
    source: ModelSource
    placement: Placement

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
        ort = require_onnxruntime()
        execution_provider = _require_provider(provider, ort.get_available_providers())
        options = ort.SessionOptions()
        options.log_severity_level = _FATAL
        options.graph_optimization_level = _level(ort, optimization)
        options.enable_cpu_mem_arena = arena
        if threads is not None:
            if threads < 1:
                raise ValueError(f"threads must be at least 1, not {threads}")
            options.intra_op_num_threads = threads
            options.inter_op_num_threads = 1
        if optimized_model_path is not None:
            options.optimized_model_filepath = os.fspath(optimized_model_path)
        if profile_prefix is not None:
            options.enable_profiling = True
            options.profile_file_prefix = profile_prefix
        for key, value in {**RECORD, **(config or {})}.items():
            options.add_session_config_entry(key, value)
        self._initializers = initializers  # the session uses their memory, but does not hold it
        for key, shared in initializers.items():
            options.add_initializer(key, shared)

        self.name = _name(model)
        self.source = model
        self._errors = _error_classes()
        # For a path as well: the checks come before ORT's parser.
        graph = model if isinstance(model, ir.Model) else load_graph(model)
        self.quantized = is_quantized(graph)
        self._ort, self._cuda = ort, (cuda or CudaOptions()) if provider == "cuda" else None
        if self._cuda and self.quantized:
            raise refuse_quantized(self.name)
        self._session = self._open(ort, model, options, execution_provider)
        self._session.disable_fallback()
        self.placement = judge_placement(
            read_placement(self._session),
            provider,
            execution_provider,
            allow_fallback=allow_fallback,
            model=self.name,
        )
        self.inputs = tuple(self._spec(node) for node in self._session.get_inputs())
        self.optional_inputs = tuple(
            self._spec(node) for node in self._session.get_overridable_initializers()
        )
        self.outputs = tuple(self._spec(node) for node in self._session.get_outputs())
        self._output_names = [spec.name for spec in self.outputs]
        self._run_options = ort.RunOptions()
        self._run_options.log_severity_level = _FATAL

    def run(self, feed: Feed, outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """Run one batch: ``DataError`` if the feed does not fit, ``ModelError`` if a node fails."""
        fed = [spec for spec in self.optional_inputs if spec.name in feed]
        check_feed(feed, (*self.inputs, *fed), self.name)
        names = self._output_names if outputs is None else list(outputs)
        check_outputs(names, self.outputs, self.name)
        if not names:
            return {}
        try:
            if self._cuda:
                return run_bound(self._session, feed, names, self._run_options)
            if any(is_bfloat16(spec.dtype) for spec in (*self.inputs, *self.outputs)):
                arrays = run_narrow(self._session, names, feed, self._run_options)
            else:
                arrays = self._session.run(names, dict(feed), self._run_options)
        except self._errors as error:
            raise ModelError(f"{self.name} failed when it ran: {explain(error)}") from error
        return dict(zip(names, arrays, strict=True))

    def prepare(self, feed: Feed) -> Callable[[], object]:
        """Check ``feed`` once and give a function that runs it, for timing."""
        self.run(feed)
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

    def end_profiling(self) -> Path:
        """Write what the profiler recorded; give the file (JSON, Chrome's trace format)."""
        return Path(self._session.end_profiling())

    def close(self) -> None:
        """Free the session."""
        self._session = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _open(self, ort: Any, model: ModelSource, options: Any, provider: str) -> Any:
        with tempfile.TemporaryDirectory(prefix="kilnx-") as folder:
            source: str | bytes
            if not isinstance(model, ir.Model):
                source = os.fspath(model)
            elif _fits_in_memory(model):
                source = ir.to_proto(model).SerializeToString()
            else:
                source = str(Path(folder) / "model.onnx")
                ir.save(model, source, format="protobuf", external_data="model.onnx.data")
            chosen: Any = provider
            if self._cuda:
                chosen = (provider, self._cuda.to_provider_options())
            try:
                return ort.InferenceSession(source, options, providers=[chosen])
            except self._errors as error:
                graph = model if isinstance(model, ir.Model) else load_graph(model)
                reason = explain(error, graph)
                raise ModelError(f"{self.name} does not load: {reason}") from error

    def _spec(self, node: Any) -> TensorSpec:
        kind = re.fullmatch(r"tensor\((\w+)\)", node.type)
        if kind is None:
            raise ModelError(
                f"{self.name}: {node.name!r} is a {node.type}; only tensors can go in and out"
            )
        dtype = _dtype(kind[1])
        if dtype is None:
            raise ModelError(f"{self.name}: {node.name!r} is a {node.type}, which numpy lacks")
        return TensorSpec(node.name, dtype, tuple(node.shape))


def explain(error: Exception, model: ir.Model | None = None) -> str:
    """ONNX Runtime's message in one line, the node that it is about first.

    Some messages name the operator only; then the node is the first of its kind in ``model``.
    """
    text = re.sub(r"\s+", " ", str(error)).strip()
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", text)
    text = re.sub(r"(?:/[\w.+-]+)+\.(?:cc|h):\d+ ", "", text)  # where in ORT's own source
    for pattern in (
        r"while running (?P<op>[\w.]+) node\. Name:'(?P<name>[^']*)'",
        r"find an implementation for (?P<op>[\w.]+)\(\d+\) node with name '(?P<name>[^']*)'",
        r"In Node, \(\"(?P<name>[^\"]*)\", (?P<op>[\w.]+),",
        r"operator \((?P<op>[\w.]+)\) in node \((?P<name>[^)]*)\)",
        r"Node \((?P<name>[^)]*)\) Op \((?P<op>[\w.]+)\)",
    ):
        found = re.search(pattern, text)
        if found:
            return f"node {found['name']!r} ({found['op']}): {_memory(text) or text[:500]}"
    found = re.search(r"(?P<domain>[\w.]*):(?P<op>\w+)\(-?\d+\) is not a registered", text)
    for graph in model.graphs() if found and model else ():
        for node in graph:
            if found and (node.domain, node.op_type) == (found["domain"], found["op"]):
                return f"node {node.name!r} ({node.op_type}): {text[:500]}"
    return _memory(text) or text[:500]


def _memory(text: str) -> str | None:
    """What to say of a message about memory that is not to be had."""
    found = re.search(r"allocate memory for requested buffer of size (\d+)", text)
    if found is None and "bad_alloc" not in text:
        return None
    size = f"{int(found[1]) / 1e9:.1f} GB at once" if found else "more"
    return f"it needs {size}, and there is not that much memory; try a smaller batch"


def _require_provider(provider: str, available: Sequence[str]) -> str:
    if provider not in PROVIDERS:
        raise RuntimeUnavailable(
            f"there is no provider {provider!r}; kilnx runs models on: "
            f"{', '.join((*PROVIDERS, 'reference', 'openvino'))}"
        )
    if PROVIDERS[provider] not in available:
        raise RuntimeUnavailable(
            f"the installed ONNX Runtime has no provider {provider!r} "
            f"({PROVIDERS[provider]}); it has {', '.join(available)}{_advice(provider)}"
        )
    return PROVIDERS[provider]


def _advice(provider: str) -> str:
    if provider != "cuda":
        return ""
    return (
        ". For an NVIDIA GPU: pip uninstall -y onnxruntime && pip install 'kilnx[gpu]', "
        "with the CUDA libraries that it needs"
    )


def _level(ort: Any, optimization: Optimization) -> Any:
    levels = ort.GraphOptimizationLevel
    return {
        "disabled": levels.ORT_DISABLE_ALL,
        "basic": levels.ORT_ENABLE_BASIC,
        "extended": levels.ORT_ENABLE_EXTENDED,
        "all": levels.ORT_ENABLE_ALL,
    }[optimization]


def _error_classes() -> tuple[type[Exception], ...]:
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return tuple(
        kind
        for kind in vars(state).values()
        if isinstance(kind, type) and issubclass(kind, Exception)
    )


def _name(model: ModelSource) -> str:
    if isinstance(model, ir.Model):
        return model.graph.name or "the ONNX model"
    return os.fspath(model)


def _fits_in_memory(model: ir.Model) -> bool:
    external = any(
        isinstance(value.const_value, ir.ExternalTensor)
        for graph in model.graphs()
        for value in graph.initializers.values()
    )
    return not external and weight_bytes(model) < _IN_MEMORY_BELOW_BYTES


def _dtype(name: str) -> np.dtype[Any] | None:
    """The numpy dtype of ONNX Runtime's element type, ``float`` say."""
    numpy_names = {"float": "float32", "double": "float64", "string": "object"}
    if name != "bfloat16":
        try:
            return np.dtype(numpy_names.get(name, name))
        except TypeError:
            return None
    import ml_dtypes

    bfloat16: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
    return bfloat16
