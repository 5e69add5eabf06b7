"""From what a user has (a path, a graph, a live Keras model) to a runtime."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from runtimes.base import Runtime
from runtimes.ort import Optimization


def is_keras(model: Any) -> bool:
    """Whether ``model`` is a live Keras model or the path of a Keras file (.keras or HDF5)."""
    raise NotImplementedError


def open_runtime(
    model: Any,
    provider: str = "cpu",
    *,
    threads: int | None = None,
    optimization: Optimization = "all",
    optimized_model_path: str | os.PathLike[str] | None = None,
    config: Mapping[str, str] | None = None,
) -> Runtime:
    """Load ``model`` to be run; use it in a ``with`` block.

    ``model``: the path of an ONNX or Keras file, an ``onnx_ir.Model`` or a live Keras model.
    A Keras model runs in Keras whatever the provider. The options are those of ``OrtRuntime``.
    Raises ``ModelError`` for what is not a model and ``RuntimeUnavailable`` for a provider
    that is unknown or not installed.
    """
    raise NotImplementedError


@contextmanager
def borrow(model: Any, provider: str = "cpu", *, threads: int | None = None) -> Iterator[Runtime]:
    """Yield ``model`` if it is a runtime already, else open it and close it at the end."""
    raise NotImplementedError
