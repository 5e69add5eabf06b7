"""Open a runtime for what the user has: a path, a graph or a live Keras model."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeGuard

import onnx_ir as ir

from runtimes.engines.elsewhere import Elsewhere, checked_device
from runtimes.engines.keras import KerasRuntime, is_keras_file
from runtimes.engines.ort_cuda import CudaOptions
from runtimes.engines.ort_session import Optimization
from runtimes.engines.provider_names import find_provider
from runtimes.engines.runtime import Runtime, check_threads
from runtimes.errors import ModelError


def is_keras(model: Any) -> bool:
    """Whether ``model`` is a live Keras model or the path of a Keras file (.keras or HDF5)."""
    if isinstance(model, str | os.PathLike):
        return is_keras_file(model)
    return any(
        kind.__module__.partition(".")[0] in ("keras", "tf_keras") and kind.__name__ == "Model"
        for kind in type(model).__mro__
    )


def open_runtime(
    model: Any,
    provider: str = "cpu",
    *,
    threads: int | None = 1,
    optimization: Optimization = "all",
    optimized_model_path: str | os.PathLike[str] | None = None,
    config: Mapping[str, str] | None = None,
    arena: bool = True,
    allow_fallback: bool = False,
    cuda: CudaOptions | None = None,
    device: Elsewhere | None = None,
) -> Runtime:
    """Load ``model`` so that it can be run; use it in a ``with`` block.

    Args:
        model: The path of an ONNX or Keras file, an ``onnx_ir.Model`` or a live Keras model. A
            Keras model always runs in Keras, whatever the provider.
        provider: A name of ``runtimes.engines.provider_table.TABLE``: ``cpu`` or ``cuda`` (ONNX
            Runtime), ``reference`` (the ONNX reference evaluator), ``openvino`` or another engine.
            Of the options below, those that an engine has no use for are ignored there.
        threads: Number of threads per run; None leaves the choice to the engine.
        optimization: ONNX Runtime's graph optimization level: ``disabled``, ``basic``,
            ``extended`` or ``all``.
        optimized_model_path: Where to write the optimized graph.
        config: Session configuration entries.
        arena: Whether to keep the memory of activations between runs.
        allow_fallback: Whether nodes may run on a provider other than ``provider``.
        cuda: Options of the CUDA provider.
        device: Where the model runs in place of this machine: a ``runtimes.Device``. It takes
            ``provider``, ``threads``, ``optimization``, ``allow_fallback`` and of ``config`` what
            is about spinning.

    Returns:
        The open runtime.

    Raises:
        ModelError: ``model`` is not a model, or cannot be read.
        RuntimeUnavailable: The provider is unknown or not installed.
        ValueError: ``threads`` is below one.

    Example:
        >>> with open_runtime("model.onnx") as runtime:
        ...     runtime.run({"x": np.zeros((2, 4), np.float32)})["scores"].shape
        (2, 3)
    """
    check_threads(threads)
    if (there := checked_device(device)) is not None:
        return there.open(
            model,
            provider,
            threads=threads,
            optimization=optimization,
            config=config,
            allow_fallback=allow_fallback,
        )
    if is_keras(model):
        return KerasRuntime(model)
    if not isinstance(model, str | os.PathLike | ir.Model):
        raise ModelError(
            f"a {type(model).__name__} is not a model; give the path of an ONNX or Keras file, "
            "an onnx_ir.Model or a live Keras model"
        )
    if provider == "keras":
        raise ModelError("an ONNX model does not run in Keras; give the Keras model")
    row = find_provider(provider)
    options = {
        "provider": provider,
        "threads": threads,
        "optimization": optimization,
        "optimized_model_path": optimized_model_path,
        "config": config,
        "arena": arena,
        "allow_fallback": allow_fallback,
        "cuda": cuda,
    }
    opened: Runtime = row.load()(model, **{name: options[name] for name in row.options})
    return opened


@contextmanager
def borrow(
    model: Any,
    provider: str = "cpu",
    *,
    threads: int | None = None,
    config: Mapping[str, str] | None = None,
    optimization: Optimization = "all",
    allow_fallback: bool = False,
    cuda: CudaOptions | None = None,
    device: Elsewhere | None = None,
) -> Iterator[Runtime]:
    """Yield ``model`` if it is already a runtime; otherwise open it, and close it at the end."""
    if is_runtime(model):
        yield model
        return
    with open_runtime(
        model,
        provider,
        threads=threads,
        config=config,
        optimization=optimization,
        allow_fallback=allow_fallback,
        cuda=cuda,
        device=device,
    ) as runtime:
        yield runtime


def is_runtime(model: Any) -> TypeGuard[Runtime]:
    """Whether ``model`` is a runtime, not a model that has yet to be opened."""
    return isinstance(model, Runtime)
