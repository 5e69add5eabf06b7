"""Where models run that do not run on this machine, as engines, costs and judges see it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from runtimes.engines.ort_session import Optimization
from runtimes.engines.runtime import Runtime
from runtimes.errors import DataError
from runtimes.onnx_files.load_save import ModelSource

D = TypeVar("D")


class Elsewhere(Protocol):
    """Another machine: ``runtimes.Device`` is one."""

    def require(self, providers: Iterable[str]) -> None:
        """Raise ``RuntimeUnavailable`` unless it answers."""
        ...

    def open(
        self,
        model: ModelSource,
        provider: str = "cpu",
        *,
        threads: int | None = 1,
        optimization: Optimization = "all",
        config: Mapping[str, str] | None = None,
        allow_fallback: bool = False,
    ) -> Runtime:
        """Open a model there."""
        ...

    def workbench(self, *, keep: bool = True) -> Any:
        """A ``runtimes.costs.workbench.Workbench`` there."""
        ...

    def profile(
        self,
        model: Any,
        *,
        against: Any = None,
        threads: Sequence[int] = (1,),
        options: Any,
        run: Any,
    ) -> Any:
        """A ``ProfileReport`` that was measured there."""
        ...


def checked_device(device: D | None) -> D | None:
    """``device``, where it is one; raises ``DataError`` that says how to make one of a text."""
    if isinstance(device, str):
        raise DataError(
            f"device={device!r} is a text; give a runtimes.Device({device!r}), which takes a "
            "token, too"
        )
    return device
