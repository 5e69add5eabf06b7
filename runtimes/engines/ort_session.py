"""How an ONNX Runtime session is opened: its options, and the model as a path or as bytes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal, TypeGuard

import onnx_ir as ir

from runtimes.atomic_files import scratch_folder
from runtimes.engines.ort_cuda import CudaOptions
from runtimes.engines.ort_options import provider_options
from runtimes.engines.ort_weights import weights_apart
from runtimes.engines.placement import RECORD
from runtimes.engines.provider_names import PROVIDERS, refuse_unknown_provider
from runtimes.errors import RuntimeUnavailable
from runtimes.extras import pip_install
from runtimes.onnx_files.load_save import ModelSource, weight_bytes

Optimization = Literal["disabled", "basic", "extended", "all"]

FATAL = 4
"""Log only from this severity up: every error is raised as an exception anyway."""

# A protobuf message cannot exceed 2 GiB: larger models are passed to the session as files.
_IN_MEMORY_BELOW_BYTES = 1_500_000_000


@dataclass(frozen=True)
class SessionSettings:
    """The settings of a session; ``OrtRuntime`` says what each one means."""

    provider: str
    threads: int | None
    optimization: Optimization
    optimized_model_path: str | os.PathLike[str] | None
    config: Mapping[str, str]
    profile_prefix: str | None
    arena: bool
    cuda: CudaOptions | None
    quantized: bool = False
    allow_fallback: bool = False

    def to_options(self, ort: Any) -> Any:
        """The settings as ONNX Runtime's ``SessionOptions``."""
        options = ort.SessionOptions()
        options.log_severity_level = FATAL
        options.graph_optimization_level = _level(ort, self.optimization)
        options.enable_cpu_mem_arena = self.arena
        if self.threads is not None:
            options.intra_op_num_threads = self.threads
            options.inter_op_num_threads = 1
        if self.optimized_model_path is not None:
            options.optimized_model_filepath = os.fspath(self.optimized_model_path)
        if self.profile_prefix is not None:
            options.enable_profiling = True
            options.profile_file_prefix = self.profile_prefix
        for key, value in {**RECORD, **self.config}.items():
            options.add_session_config_entry(key, value)
        return options

    def to_providers(self) -> list[Any]:
        """The provider, with its options if it has any; after TensorRT, CUDA if that is allowed."""
        names = [self.provider]
        if self.provider == "tensorrt" and self.allow_fallback:
            names.append("cuda")
        return [self._with_options(name) for name in names]

    def _with_options(self, provider: str) -> Any:
        options = provider_options(
            provider, cuda=self.cuda, threads=self.threads, quantized=self.quantized
        )
        name = PROVIDERS[provider]
        return name if options is None else (name, options)


def open_session(
    ort: Any, model: ModelSource, settings: SessionSettings, initializers: Mapping[str, Any]
) -> Any:
    """A session that never falls back silently to another provider.

    It uses the memory of ``initializers`` but does not keep it alive: the caller must.
    """
    options = settings.to_options(ort)
    for key, shared in initializers.items():
        options.add_initializer(key, shared)
    with ExitStack() as stack:
        if _takes_apart(model, settings, initializers):
            without, weights = weights_apart(model)
            source: str | bytes = _message(without)
        else:
            source, weights = _readable(model, stack), {}
        apart = {name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in weights.items()}
        if apart:
            options.add_external_initializers(list(apart), list(apart.values()))
        session = ort.InferenceSession(source, options, providers=settings.to_providers())
    session.weights_apart = apart  # they stay alive as long as it does
    session.disable_fallback()
    return session


def _takes_apart(
    model: ModelSource, settings: SessionSettings, initializers: Mapping[str, Any]
) -> TypeGuard[ir.Model]:
    """Whether large weights are given to the session next to the model.

    What is written or kept elsewhere holds its weights itself.
    """
    return (
        isinstance(model, ir.Model)
        and settings.provider == "cpu"
        and settings.optimized_model_path is None
        and not initializers
        and _fits_in_memory(model)
    )


def require_provider(provider: str, available: Sequence[str]) -> None:
    """Raise ``RuntimeUnavailable`` if the provider is unknown or not among ``available``."""
    refuse_unknown_provider(provider)
    if PROVIDERS[provider] not in available:
        raise RuntimeUnavailable(
            f"the installed ONNX Runtime has no provider {provider!r} "
            f"({PROVIDERS[provider]}); it has {', '.join(available)}{_advice(provider)}"
        )


def _advice(provider: str) -> str:
    other = {"cuda": "gpu", "tensorrt": "gpu", "ort-openvino": "ort-openvino"}.get(provider)
    if other is None:
        return ""
    advice = f": pip uninstall -y onnxruntime && {pip_install(other)}"
    if other != "gpu":
        return f". OpenVINO's build of ONNX Runtime has it{advice}"
    libraries = "the CUDA libraries" if provider == "cuda" else "TensorRT and the CUDA libraries"
    return f". For an NVIDIA GPU{advice}, and install {libraries} that it needs"


def _level(ort: Any, optimization: Optimization) -> Any:
    levels = ort.GraphOptimizationLevel
    return {
        "disabled": levels.ORT_DISABLE_ALL,
        "basic": levels.ORT_ENABLE_BASIC,
        "extended": levels.ORT_ENABLE_EXTENDED,
        "all": levels.ORT_ENABLE_ALL,
    }[optimization]


def _readable(model: ModelSource, stack: ExitStack) -> str | bytes:
    """The model as a path or bytes; a large graph is kept in a file until ``stack`` is closed."""
    if not isinstance(model, ir.Model):
        return os.fspath(model)
    if _fits_in_memory(model):
        return _message(model)
    path = stack.enter_context(scratch_folder()) / "model.onnx"
    ir.save(model, path, format="protobuf", external_data="model.onnx.data")
    return str(path)


def _message(model: ir.Model) -> bytes:
    return bytes(ir.to_proto(model).SerializeToString())


def _fits_in_memory(model: ir.Model) -> bool:
    external = any(
        isinstance(value.const_value, ir.ExternalTensor)
        for graph in model.graphs()
        for value in graph.initializers.values()
    )
    return not external and weight_bytes(model) < _IN_MEMORY_BELOW_BYTES
