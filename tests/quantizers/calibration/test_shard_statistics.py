"""Merging statistics: exact in any order, and refused where parts do not belong together."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantizers.calibration.kept_samples import KeptSource, wanted_positions
from quantizers.calibration.observers import MinMaxObserver
from quantizers.calibration.shard_statistics import Identity, ShardStatistics, merge_all
from quantizers.calibration.statistics import Statistics, spread
from quantizers.calibration.statistics_file import parse_statistics, statistics_chunks
from runtimes import DataError, Dataset

TOTAL, BLOCK = 1000, 32
BLOCKS = -(-TOTAL // BLOCK)
VALUES = np.random.default_rng(5).normal(size=(TOTAL, 6)).astype(np.float32)
VALUES[::3] = np.round(VALUES[::3])
VALUES[VALUES == 0] *= np.float32(-1)  # zeros of both signs


def part(first: int, last: int) -> ShardStatistics:
    """Statistics of the blocks from ``first`` to before ``last``."""
    start, stop = first * BLOCK, min(TOTAL, last * BLOCK)
    observers = {"whole": MinMaxObserver(), "channels": MinMaxObserver(-1)}
    for one in observers.values():
        one.update(VALUES[start:stop])
    kept = {one: {"x": VALUES[one]} for one in wanted_positions(TOTAL) if start <= one < stop}
    identity = Identity("m", "1", "2", TOTAL, BLOCK, BLOCK, (2,), "f" if start == 0 else None)
    digest = sum(hash_of(row) for row in range(start, stop)) % 2**256
    return ShardStatistics(
        identity, ((start, stop),), digest, Statistics(observers, stop - start), kept
    )


def hash_of(row: int) -> int:
    return pow(3, row, 2**256)


def raw(one: ShardStatistics) -> bytes:
    return b"".join(statistics_chunks(one))


WHOLE = raw(part(0, BLOCKS))


@given(st.sets(st.integers(1, BLOCKS - 1), max_size=9), st.randoms(use_true_random=False))
def test_any_cuts_in_any_order_and_any_tree(cuts: set[int], random: Any) -> None:
    bounds = [0, *sorted(cuts), BLOCKS]
    parts = [part(*pair) for pair in itertools.pairwise(bounds)]
    while len(parts) > 1:
        random.shuffle(parts)
        parts.append(parts.pop().merge(parts.pop()))
    assert raw(parts[0]) == WHOLE
    parts[0].require_whole()


def test_the_file_comes_back() -> None:
    assert raw(parse_statistics(WHOLE, "w.stats")) == WHOLE


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model": "n"}, "of another model"),
        ({"kilnx": "3"}, "another version of kilnx"),
        ({"engine": "3"}, "another version of ONNX Runtime"),
        ({"total": 1001}, "another number of samples"),
        ({"first": "g"}, "first samples differ"),
        ({"batch": 16}, "batches of another size"),
        ({"passes": (1, 1)}, "other passes"),
    ],
)
def test_parts_of_something_else_are_refused(changed: dict[str, Any], message: str) -> None:
    other = replace(part(3, BLOCKS), name="b.stats")
    other = replace(other, identity=replace(other.identity, **changed))
    for parts in ((part(0, 3), other), (other, part(0, 3))):
        with pytest.raises(DataError, match=message):
            merge_all(parts)


def test_gaps_and_overlaps_are_named() -> None:
    with pytest.raises(DataError, match="lack the samples 0 to 31, 64 to 95 of 1000"):
        merge_all([part(1, 2), part(3, BLOCKS)]).require_whole()
    with pytest.raises(DataError, match="both hold the samples 64 to 127"):
        merge_all([part(1, 9), part(2, 4)])
    with pytest.raises(DataError, match="no statistics"):
        merge_all([])


def damaged(**changed: Any) -> bytes:
    """A file that is intact as a file, with something in it that is not right."""
    one = part(0, 3)
    identity = {name: changed.pop(name) for name in list(changed) if hasattr(one.identity, name)}
    return raw(replace(one, identity=replace(one.identity, **identity), **changed))


def low_above_high() -> Statistics:
    ends = np.ones(2, np.float32), np.zeros(2, np.float32)
    one = MinMaxObserver(bounds=ends)
    one.channels = lambda: ends  # type: ignore[method-assign]
    return Statistics({"v": one}, 96)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"total": 0}, "a count in it is none"),
        ({"total": 2**60}, "a count in it is none"),
        ({"batch": 0}, "no whole batches"),
        ({"batch": 31}, "no whole batches"),
        ({"model": 3}, "no text"),
        ({"intervals": ()}, "of no samples"),
        ({"intervals": ((0, 32), (32, 96))}, "not in order"),
        ({"intervals": ((0, 2000),)}, "not in order"),
        ({"intervals": ((1, 96),)}, "not in order"),
        ({"intervals": ((0, 128),)}, "arrays are missing"),
        ({"kept": {}}, "arrays are missing"),
        ({"statistics": low_above_high()}, "a range in it is none"),
    ],
)
def test_content_that_is_not_right_is_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=rf"^b.stats is damaged: .*{message}"):
        parse_statistics(damaged(**changed), "b.stats")


def test_kept_samples_are_what_spread_gives() -> None:
    kept = {one: {"x": VALUES[one]} for one in wanted_positions(TOTAL)}
    few, everything = Dataset(KeptSource("few", TOTAL, kept)), Dataset.open({"x": VALUES})
    assert len(kept) < 360
    for samples, seed in ((64, 0), (128, 0), (192, 1), (16, 1)):
        pairs = zip(
            spread(few, samples, seed).batches(32),
            spread(everything, samples, seed).batches(32),
            strict=True,
        )
        for one, two in pairs:
            np.testing.assert_array_equal(one.feed["x"], two.feed["x"])
            assert one.indices.tolist() == two.indices.tolist()
    first = next(iter(few.batches(32)))
    np.testing.assert_array_equal(first.feed["x"], VALUES[:32])
    with pytest.raises(DataError, match="give the data themselves"):
        list(few.batches(32))


def test_statistics_of_other_cpus_are_told() -> None:
    one = replace(part(0, BLOCKS), cpus=frozenset({"avx1024"}))
    (note,) = merge_all([one]).data().notes
    assert "calibrated on CPUs with avx1024" in note
    assert part(0, BLOCKS).data().notes == ()
    mixed = replace(part(0, 9), cpus=frozenset({"b"})).merge(
        replace(part(9, BLOCKS), cpus=frozenset({"a"}))
    )
    assert parse_statistics(raw(mixed), "m.stats").cpus == {"a", "b"}


def test_a_million_samples_keep_few_and_small_data_all() -> None:
    assert len(wanted_positions(1_000_000)) <= 352
    assert wanted_positions(40) == tuple(range(40))
