"""Types that every package shares: arrays by name, input specifications, closable resources."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Feed = Mapping[str, Array]


@dataclass(frozen=True)
class TensorSpec:
    """Name, element type and shape of one input or output.

    ``shape`` holds an ``int`` for a static dimension, a ``str`` for a named dynamic one and
    ``None`` for an unnamed dynamic one. ``shape`` itself is ``None`` if the rank is unknown.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | str | None, ...] | None

    def accepts(self, shape: Sequence[int]) -> bool:
        """Whether an array of ``shape`` fits: same rank, and equal static dimensions."""
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


@dataclass(frozen=True)
class SelfTimed:
    """A function that knows better than its caller how long it took.

    A model in another process, or on another machine, is timed there: what lies between is no part
    of its latency. ``run`` returns seconds, and so does calling this.
    """

    run: Callable[[], float]

    def __call__(self) -> float:
        """Run once; returns the seconds it took."""
        return self.run()


class Closable(ABC):
    """Something that holds memory or files until it is closed; a ``with`` block closes it."""

    @abstractmethod
    def close(self) -> None:
        """Release what is held; calling it again does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
