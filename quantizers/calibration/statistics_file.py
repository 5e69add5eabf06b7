"""Files of statistics: what one process writes and another one merges.

An array file (``runtimes.array_file``) of kind ``kilnxcal``. Its header holds ``identity``,
``intervals``, ``digest`` (hexadecimal), ``cpus``, ``values`` (names of what was observed) and
``inputs``. Its arrays are ``low/<value>`` and ``high/<value>`` (one number, or one a channel) and
``sample/<position>/<input>``. The same samples of the same model are the same bytes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from quantizers.calibration.kept_samples import wanted_positions
from quantizers.calibration.observers import MinMaxObserver
from quantizers.calibration.shard_statistics import (
    DIGEST_BITS,
    Identity,
    Interval,
    ShardStatistics,
)
from quantizers.calibration.statistics import Statistics
from runtimes.array_file import Kind, array_file_chunks, parse_array_file, read_array_file
from runtimes.atomic_files import atomic_file
from runtimes.base import Array
from runtimes.errors import DataError

KIND = Kind("kilnxcal", 1, "calibration statistics")

# Which samples are kept is found by a hash of every position: more would take minutes.
_MOST_SAMPLES = 2**32


def write_statistics(
    path: str | os.PathLike[str],
    statistics: ShardStatistics,
    *,
    force: bool = False,
    inputs: Iterable[Any] = (),
) -> None:
    """Write the file, whole or not at all; ``force``, ``inputs``: see ``refuse_existing``."""
    with (
        atomic_file(path, force=force, inputs=inputs, ours=is_statistics) as new,
        new.open("wb") as file,
    ):
        file.writelines(statistics_chunks(statistics))


def is_statistics(path: Path) -> bool:
    """Whether a file holds statistics, which can be made again."""
    with path.open("rb") as file:
        return file.read(len(KIND.name)) == KIND.name.encode("ascii")


def statistics_chunks(statistics: ShardStatistics) -> Iterator[bytes]:
    """The bytes of the file, piece by piece."""
    return array_file_chunks(KIND, _header(statistics), _arrays(statistics))


def read_statistics(path: str | os.PathLike[str]) -> ShardStatistics:
    """Read a file that ``write_statistics`` wrote; ``DataError`` for any other."""
    return _checked(*read_array_file(path, KIND), str(path))


def parse_statistics(raw: bytes, name: str) -> ShardStatistics:
    """``read_statistics`` for the bytes of a file, which messages call ``name``."""
    return _checked(*parse_array_file(raw, KIND, name), name)


def _checked(header: dict[str, Any], arrays: Mapping[str, Array], name: str) -> ShardStatistics:
    try:
        return _statistics(header, arrays, Path(name).name)
    except _Bad as error:
        raise DataError(f"{name} is damaged: {error}; calibrate anew") from error


class _Bad(Exception):
    """What is wrong with the content of a file."""


def _header(one: ShardStatistics) -> dict[str, Any]:
    return {
        "identity": {**asdict(one.identity), "passes": list(one.identity.passes)},
        "intervals": [list(interval) for interval in one.intervals],
        "digest": f"{one.digest:064x}",
        "cpus": sorted(one.cpus),
        "values": sorted(one.statistics.observers),
        "inputs": sorted({name for sample in one.kept.values() for name in sample}),
    }


def _arrays(one: ShardStatistics) -> dict[str, Array]:
    arrays = {}
    for name, observer in one.statistics.observers.items():
        arrays[f"low/{name}"], arrays[f"high/{name}"] = observer.channels()
    for position, sample in one.kept.items():
        arrays.update({f"sample/{position}/{name}": value for name, value in sample.items()})
    return arrays


def _statistics(header: dict[str, Any], arrays: Mapping[str, Array], name: str) -> ShardStatistics:
    if header.keys() != {"identity", "intervals", "digest", "cpus", "values", "inputs"}:
        raise _Bad("its header has other entries")
    identity = _identity(header["identity"])
    intervals = _intervals(header["intervals"], identity)
    values, inputs = _names(header["values"]), _names(header["inputs"])
    wanted = wanted_positions(identity.total)
    kept = [one for one in wanted if any(start <= one < stop for start, stop in intervals)]
    expected = {f"{end}/{value}" for end in ("low", "high") for value in values}
    expected |= {f"sample/{position}/{one}" for position in kept for one in inputs}
    if arrays.keys() != expected or (kept and not inputs):
        raise _Bad("arrays are missing, or are there that do not belong in it")
    return ShardStatistics(
        identity,
        intervals,
        _digest(header["digest"]),
        Statistics(
            {value: _observer(arrays[f"low/{value}"], arrays[f"high/{value}"]) for value in values},
            sum(stop - start for start, stop in intervals),
        ),
        {one: {key: arrays[f"sample/{one}/{key}"] for key in inputs} for one in kept},
        frozenset(_names(header["cpus"])),
        name,
    )


def _identity(value: Any) -> Identity:
    if not isinstance(value, dict) or value.keys() != {one.name for one in fields(Identity)}:
        raise _Bad("it does not say what it is of")
    texts = [value["model"], value["kilnx"], value["engine"], value["first"] or ""]
    counts = [value["total"], value["batch"], value["block"]]
    passes = value["passes"]
    if not all(isinstance(one, str) for one in texts) or not isinstance(passes, list):
        raise _Bad("what it is of is no text")
    if not all(map(_is_count, (*counts, *passes))) or not 0 < value["total"] <= _MOST_SAMPLES:
        raise _Bad("a count in it is none")
    if 0 in counts or value["block"] % value["batch"]:
        raise _Bad("its blocks are no whole batches")
    return Identity(**{**value, "passes": tuple(passes)})


def _intervals(value: Any, identity: Identity) -> tuple[Interval, ...]:
    pairs = value if isinstance(value, list) else []
    found, position = [], -1
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2 or not all(map(_is_count, pair)):
            raise _Bad("its ranges of samples are no pairs of numbers")
        start, stop = pair
        if not position < start < stop <= identity.total or start % identity.block:
            raise _Bad("its ranges of samples are not in order")
        found.append((start, stop))
        position = stop
    if not found:
        raise _Bad("it is of no samples")
    return tuple(found)


def _names(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise _Bad("names in it are no text")
    if value != sorted(set(value)):
        raise _Bad("names in it are not in order")
    return value


def _digest(value: Any) -> int:
    if not isinstance(value, str) or len(value) != DIGEST_BITS // 4:
        raise _Bad("its digest of the samples is none")
    try:
        return int(value, 16)
    except ValueError:
        raise _Bad("its digest of the samples is none") from None


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _observer(low: Array, high: Array) -> MinMaxObserver:
    if low.shape != high.shape or low.dtype != high.dtype or low.ndim > 1 or not low.size:
        raise _Bad("the ends of a range do not belong together")
    finite = low.dtype.kind == "f" and np.isfinite(low).all() and np.isfinite(high).all()
    if not finite or (low > high).any():
        raise _Bad("a range in it is none")
    return MinMaxObserver(bounds=(low, high))
