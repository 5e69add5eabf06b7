"""A reference from an untrusted file: nothing is taken on trust, every size is checked first."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from runtimes.base import Array
from runtimes.errors import DataError
from runtimes.monitor.layout import (
    FORMAT,
    FORMS,
    GROUPS,
    VERSION,
    Block,
    Group,
    ServedMetric,
)

_MOST_BYTES = 64_000_000
_MOST_BLOCKS, _MOST_FEATURES, _MOST_BINS, _MOST_TEXT = 512, 2048, 1024, 1000
_MOST_SAMPLES = 2**40
_CATEGORICAL = ("tokens", "classes")


@dataclass(frozen=True)
class Parts:
    """What a reference consists of, checked."""

    layout: tuple[Block, ...]
    counts: tuple[Array, ...]
    samples: Mapping[Group, int]
    metric: ServedMetric | None


def read_parts(text: str | bytes) -> Parts:
    """What the reference in ``text`` consists of; ``DataError`` for anything else."""
    if len(text) > _MOST_BYTES:
        _refuse(f"it has {len(text)} bytes, and {_MOST_BYTES} are the most")
    try:
        document = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise DataError(f"the reference is not JSON that can be read: {error}") from error
    members = _members(document, "the document")
    if members.get("format") != FORMAT:
        _refuse(f"its format is {members.get('format')!r}, not {FORMAT!r}")
    if members.get("version") != VERSION:
        _refuse(
            f"it is of version {members.get('version')!r}, and this kilnx reads {VERSION}; make "
            "it anew with `kilnx package`"
        )
    samples: dict[Group, int] = {
        group: _integer(_members(members.get("samples"), "samples").get(group, 0), group)
        for group in GROUPS
    }
    if max(samples.values()) > _MOST_SAMPLES:
        _refuse(f"it claims {max(samples.values())} samples")
    blocks = _list(members.get("blocks"), "blocks", _MOST_BLOCKS)
    read = [_block(one, f"blocks[{place}]", samples) for place, one in enumerate(blocks)]
    metric = members.get("metric")
    return Parts(
        tuple(block for block, _ in read),
        tuple(counts for _, counts in read),
        samples,
        None if metric is None else _metric(_members(metric, "metric")),
    )


def _block(value: Any, where: str, samples: dict[Group, int]) -> tuple[Block, Array]:
    members = _members(value, where)
    group, form = members.get("group"), members.get("form")
    if group not in GROUPS or form not in FORMS:
        _refuse(f"{where} has the group {group!r} and the form {form!r}, and there are no such")
    names = [
        _text(one, f"{where}.names")
        for one in _list(members.get("names"), f"{where}.names", _MOST_FEATURES)
    ]
    if not names:
        _refuse(f"{where} has no features")
    block = Block(
        group,
        _text(members.get("tensor"), f"{where}.tensor"),
        form,
        tuple(names),
        _edges(members.get("edges"), where, len(names), form),
        _categories(members.get("categories"), where, form),
    )
    return block, _counts(members.get("counts"), where, block, samples[group])


def _edges(value: Any, where: str, features: int, form: str) -> tuple[tuple[float, ...], ...]:
    rows = _list(value, f"{where}.edges", _MOST_FEATURES)
    if len(rows) != (0 if form in _CATEGORICAL else features):
        _refuse(f"{where} has {features} features and edges for {len(rows)}")
    read = []
    for row in rows:
        edges = [_number(one, f"{where}.edges") for one in _list(row, where, _MOST_BINS)]
        if any(after <= before for before, after in itertools.pairwise(edges)):
            _refuse(f"{where} has edges that do not increase")
        read.append(tuple(edges))
    return tuple(read)


def _categories(value: Any, where: str, form: str) -> tuple[int | str, ...]:
    found = _list(value, f"{where}.categories", _MOST_BINS)
    if found and form not in _CATEGORICAL:
        _refuse(f"{where} is of the form {form!r} and has categories")
    kinds = {type(one) for one in found}
    if not (kinds <= {int} or kinds <= {str}):
        _refuse(f"{where}.categories are neither all integers nor all strings")
    if any(isinstance(one, int) and abs(one) >= 2**63 for one in found):
        _refuse(f"{where}.categories hold an integer of more than 64 bits")
    if any(isinstance(one, str) and len(one) > _MOST_TEXT for one in found):
        _refuse(f"{where}.categories hold a text of more than {_MOST_TEXT} characters")
    if any(after <= before for before, after in itertools.pairwise(found)):
        _refuse(f"{where}.categories are not sorted, or one occurs twice")
    return tuple(found)


def _counts(value: Any, where: str, block: Block, samples: int) -> Array:
    rows = _list(value, f"{where}.counts", _MOST_FEATURES)
    if len(rows) != len(block.names):
        _refuse(f"{where} has {len(block.names)} features and counts of {len(rows)}")
    total = samples * block.unit
    for feature, row in enumerate(rows):
        counts = _list(row, f"{where}.counts", _MOST_BINS + 2)
        if len(counts) != block.bins:
            _refuse(f"{where} has {block.bins} bins and {len(counts)} counts")
        if sum(_integer(one, f"{where}.counts") for one in counts) != total:
            _refuse(f"{where}: the counts of {block.names[feature]!r} do not sum to {total}")
        used = set(block.used_bins(feature))
        if any(one and place not in used for place, one in enumerate(counts)):
            _refuse(f"{where}: {block.names[feature]!r} has counts where it has no bin")
    return np.array(rows, np.int64)


def _metric(members: dict[str, Any]) -> ServedMetric:
    name = _text(members.get("name"), "metric.name")
    if "." in name:  # package.module:function would import code
        _refuse(f"the metric {name!r} is not one of kilnx' own")
    higher = members.get("higher_is_better")
    if not isinstance(higher, bool):
        _refuse("metric.higher_is_better is neither true nor false")
    return ServedMetric(name, _number(members.get("value"), "metric.value"), higher)


def _members(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        _refuse(f"{where} is not an object")
    return value


def _list(value: Any, where: str, most: int) -> list[Any]:
    if not isinstance(value, list):
        _refuse(f"{where} is not a list")
    if len(value) > most:
        _refuse(f"{where} has {len(value)} elements, and {most} are the most")
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or len(value) > _MOST_TEXT:
        _refuse(f"{where} is not a text of at most {_MOST_TEXT} characters")
    return value


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        _refuse(f"{where} holds {str(value)[:40]!r} in place of a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        _refuse(f"{where} holds a number that is not finite")
    return number


def _integer(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**62:
        _refuse(f"{where} holds {str(value)[:40]!r} in place of a count")
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _refuse(what: str) -> NoReturn:
    raise DataError(f"the reference cannot be used: {what}")
