"""A reference that many candidates are compared with, and that need not run again for each."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from runtimes.base import Array, Feed
from runtimes.engines.ort import OrtRuntime

# Results are kept up to here; what is beyond is computed again.
MOST_BYTES = 64 * 2**20


class RememberingRuntime(OrtRuntime):
    """An ``OrtRuntime`` that keeps what it gave for each batch, up to ``MOST_BYTES`` in all."""

    def __init__(self, model: Any, **options: Any) -> None:
        self._kept: dict[bytes, Sequence[Array]] = {}
        self._free = MOST_BYTES
        super().__init__(model, **options)

    def _run(self, feed: Feed, names: Sequence[str]) -> Sequence[Array]:
        key = _key(feed, names)
        if key not in self._kept:
            found = self._forward(feed, names)
            self._free -= sum(array.nbytes for array in found)
            if self._free < 0:
                return found
            self._kept[key] = found
        # Callers may write into what they get.
        return [array.copy() for array in self._kept[key]]

    def _forward(self, feed: Feed, names: Sequence[str]) -> Sequence[Array]:
        return super()._run(feed, names)

    def _unload(self) -> None:
        self._kept.clear()
        super()._unload()


def _key(feed: Feed, names: Sequence[str]) -> bytes:
    digest = hashlib.sha256(repr(list(names)).encode())
    for name in sorted(feed):
        array = feed[name]
        digest.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        digest.update(repr(array.tolist()).encode() if array.dtype.hasobject else array.tobytes())
    return digest.digest()
