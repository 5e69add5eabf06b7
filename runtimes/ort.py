"""ONNX Runtime as a runtime: https://onnxruntime.ai/docs/api/python/api_summary.html."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Literal, Self

from runtimes.base import Array, Feed, TensorSpec
from runtimes.modelfile import ModelSource

Optimization = Literal["disabled", "basic", "extended", "all"]


class OrtRuntime:
    """One ONNX model in one ONNX Runtime session.

    ``threads`` is the number of intra-op threads (None: ONNX Runtime's own choice).
    ``optimized_model_path``: where to write the graph as ONNX Runtime optimized it.
    ``config`` holds further session configuration entries. A provider that is not there is
    ``RuntimeUnavailable``, a model that does not load is ``ModelError`` naming the node;
    ONNX Runtime's silent fallback to another provider is off.
    """

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def __init__(
        self,
        model: ModelSource,
        *,
        provider: str = "cpu",
        threads: int | None = None,
        optimization: Optimization = "all",
        optimized_model_path: str | os.PathLike[str] | None = None,
        config: Mapping[str, str] | None = None,
    ) -> None:
        raise NotImplementedError

    def run(self, feed: Feed, outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """Run one batch: ``DataError`` if the feed does not fit, ``ModelError`` if a node fails."""
        raise NotImplementedError

    def prepare(self, feed: Feed) -> Callable[[], object]:
        """Check ``feed`` once and give a function that runs it, for timing."""
        raise NotImplementedError

    def close(self) -> None:
        """Free the session."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
