"""Which samples: by a hash of their position, or a range of them.

Both follow from positions and counts alone, so that every machine chooses the same ones.
"""

from __future__ import annotations

import numpy as np

from runtimes.base import Array
from runtimes.errors import DataError

BLOCK = 32
"""Samples that are run together wherever results have to be the same for any number of shards."""

_CHUNK = 1 << 20


def smallest(positions: Array, count: int, seed: int) -> Array:
    """Which ``count`` of the positions have the smallest hashes, bool."""
    keys = hashed(positions, seed)
    return np.asarray(keys <= np.partition(keys, count - 1)[count - 1])


def smallest_below(total: int, count: int, seed: int) -> Array:
    """The ``count`` positions below ``total`` with the smallest hashes, ascending.

    In memory that does not grow with ``total``.
    """
    found = np.zeros(0, np.int64)
    limit = np.iinfo(np.uint64).max  # the largest hash among those found, once there are enough
    for start in range(0, total, _CHUNK):
        chunk = np.arange(start, min(start + _CHUNK, total))
        found = np.concatenate([found, chunk[hashed(chunk, seed) <= limit]])
        if len(found) > count:
            found = found[smallest(found, count, seed)]
        if len(found) == count:
            limit = hashed(found, seed).max()
    return found


def shard_bounds(total: int, index: int, count: int, block: int) -> tuple[int, int]:
    """First position of shard ``index`` of ``count``, and the first behind it.

    Shards begin at multiples of ``block``. Raises ``DataError`` where one would be empty.
    """
    if not 0 <= index < count:
        last = f"0/{count} to {count - 1}/{count}" if count > 0 else "0/1"
        raise DataError(f"there is no shard {index}/{count}; the shards are {last}")
    blocks = -(-total // block)
    if count > blocks:
        raise DataError(
            f"{total} samples make {blocks} blocks of {block}, too few for {count} shards; "
            f"cut them into {blocks} at most"
        )
    return blocks * index // count * block, min(total, blocks * (index + 1) // count * block)


def parsed_shard(shard: tuple[int, int] | str) -> tuple[int, int]:
    """Index and count of a shard, which may be text such as ``0/4``; raises ``DataError``."""
    if not isinstance(shard, str):
        return shard
    index, slash, count = shard.partition("/")
    if not slash or not (index.isdecimal() and count.isdecimal()):
        raise DataError(f"the shard {shard!r} is not index and count, such as 0/4")
    return int(index), int(count)


def hashed(positions: Array, seed: int) -> Array:
    """SplitMix64's finalizer, a bijection of 64-bit numbers: no two positions share a key.

    Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014.
    """
    gamma = 0x9E3779B97F4A7C15
    keys = positions.astype(np.uint64) + np.uint64(seed * gamma % 2**64)
    keys = (keys + np.uint64(1)) * np.uint64(gamma)
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    found: Array = keys ^ (keys >> np.uint64(31))
    return found
