"""What a runtime is: something that runs one model and can name its inputs and outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Feed = Mapping[str, Array]


@dataclass(frozen=True)
class TensorSpec:
    """Name, element type and shape of one input or output.

    ``shape`` holds an ``int`` for a static dimension, a ``str`` for a named dynamic one
    and ``None`` for a dynamic one without a name; it is ``None`` where the rank is unknown.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | str | None, ...] | None

    def accepts(self, shape: Sequence[int]) -> bool:
        """Whether an array of ``shape`` fits: same rank, and equal where static."""
        if self.shape is None:
            return True
        return len(self.shape) == len(shape) and all(
            not isinstance(want, int) or want == have
            for want, have in zip(self.shape, shape, strict=True)
        )

    def __str__(self) -> str:
        if self.shape is None:
            return f"{self.name}: {self.dtype.name}[…]"
        dims = ", ".join("?" if dim is None else str(dim) for dim in self.shape)
        return f"{self.name}: {self.dtype.name}[{dims}]"


class Runtime(Protocol):
    """One loaded model on one execution provider, as a context manager.

    ``run`` takes arrays named after the inputs (first axis: the sample) and gives back
    arrays named after the outputs, all of them or those that ``outputs`` names.
    ``quantized``: some operator works on, or stores weights as, quantized integers.
    """

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    quantized: bool

    def run(self, feed: Feed, outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """Run one batch."""
        ...

    def prepare(self, feed: Feed) -> Callable[[], object]:
        """Check ``feed`` once and give a function that runs it and nothing else, for timing."""
        ...

    def close(self) -> None:
        """Free the model; ``run`` may not be called afterwards."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
