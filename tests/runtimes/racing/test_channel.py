"""What goes through a channel comes out as it was, through memory that both sides share."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from runtimes.racing.arrays import _MOST_FORMS, Arrays
from runtimes.racing.channel import Channel


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    left, right = (Channel(one) for one in socket.socketpair())
    yield left, right
    left.close()
    right.close()


def passed(ends: tuple[Channel, Channel], message: Any) -> Any:
    found: list[Any] = []
    reader = threading.Thread(target=lambda: found.append(ends[1].receive()))
    reader.start()
    ends[0].send(message)
    reader.join()
    return found[0]


@pytest.mark.parametrize("shared", [True, False])
def test_arrays_of_all_sizes_arrive_whole(
    ends: tuple[Channel, Channel], monkeypatch: pytest.MonkeyPatch, shared: bool
) -> None:
    if not shared:
        monkeypatch.delattr(os, "memfd_create")
    rng = np.random.default_rng(0)
    for size in (0, 1, 5_000, 70_000, 30_000, 400_000, 3):  # the memory grows, and is used again
        arrays = {
            "flat": rng.normal(size=size).astype(np.float32),
            "turned": rng.integers(0, 9, (size, 2)).T,
            "texts": np.array(["a", "bc"], object),
            "flags": rng.random(size) < 0.5,
        }
        found = passed(ends, ("run", arrays))
        assert found[0] == "run"
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[1][name], array)
            assert found[1][name].dtype == array.dtype


def test_what_was_received_is_the_receivers_own(ends: tuple[Channel, Channel]) -> None:
    first = passed(ends, np.zeros(50_000))
    passed(ends, np.ones(50_000))
    assert not first.any()
    first += 2  # and may be written to


def test_the_end_of_the_other_side_is_told(ends: tuple[Channel, Channel]) -> None:
    ends[0].close()
    assert ends[1].poll(1.0)
    with pytest.raises(EOFError):
        ends[1].receive()


@pytest.mark.parametrize("size", [0, 3, 50_000])
@pytest.mark.parametrize(
    "dtype",
    ["float16", ">f4", "complex64", "datetime64[s]", "U3", ml_dtypes.bfloat16, "longdouble"],
)
def test_arrays_of_all_types_arrive_whole(
    ends: tuple[Channel, Channel], dtype: Any, size: int
) -> None:
    array = np.zeros(size, np.dtype(dtype))
    array[1:] = np.arange(size)[1:].astype(array.dtype)
    found = passed(ends, [array, array[::2], array.reshape(1, -1, 1), np.array(7.5)])
    for one, other in zip((array, array[::2], array.reshape(1, -1, 1)), found[:3], strict=True):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert one.tobytes() == other.tobytes()
    assert found[3].shape == ()
    assert found[3] == 7.5


def test_what_is_used_in_place_holds_until_it_is_answered(ends: tuple[Channel, Channel]) -> None:
    ends[0].send(("run", np.arange(50_000)), in_place=True)
    question, first = ends[1].receive()
    assert question == "run"
    np.testing.assert_array_equal(first, np.arange(50_000))
    ends[0].send(np.ones(200_000), in_place=True)  # new memory: what was mapped before stays
    second = ends[1].receive()
    assert second.sum() == 200_000
    np.testing.assert_array_equal(first, np.arange(50_000))


def test_messages_that_arrive_together_are_told_apart(ends: tuple[Channel, Channel]) -> None:
    ends[0].send("first")
    ends[0].send(np.arange(50_000))
    ends[0].send(("close", ()))
    assert ends[1].receive() == "first"
    np.testing.assert_array_equal(ends[1].receive(), np.arange(50_000))
    assert ends[1].poll(0)
    assert ends[1].receive() == ("close", ())
    assert not ends[1].poll(0)


@pytest.mark.parametrize("shared", [True, False])
def test_arrays_of_a_known_form_arrive_whole(
    ends: tuple[Channel, Channel], monkeypatch: pytest.MonkeyPatch, shared: bool
) -> None:
    if not shared:
        monkeypatch.delattr(os, "memfd_create")
    rng = np.random.default_rng(0)
    for size in (0, 1, 5_000, 70_000, 5_000, 70_000):  # some forms come again
        arrays = [
            rng.normal(size=size).astype(np.float32),
            np.array(3.5),
            rng.integers(0, 9, (size, 2)).T,
            rng.random((2, size)) < 0.5,
            rng.normal(size=(size, 3)).astype(np.float16)[::-1],
        ]
        found = passed(ends, Arrays(("x", size), arrays))
        assert isinstance(found, Arrays)
        assert found.told == ("x", size)
        for one, array in zip(found.arrays, arrays, strict=True):
            np.testing.assert_array_equal(one, array)
            assert (one.dtype, one.shape) == (array.dtype, array.shape)


def test_arrays_of_other_kinds_are_passed_as_well(ends: tuple[Channel, Channel]) -> None:
    for array in (
        np.array(["a", "bc"], object),
        np.array(["a", "bc"]),
        np.arange(5, dtype=">i4"),
        np.ones(5, ml_dtypes.bfloat16),
    ):
        (found,) = passed(ends, Arrays(None, [array])).arrays
        np.testing.assert_array_equal(found, array)
        assert found.dtype == array.dtype


def test_forms_that_do_not_come_again_do_not_fill_memory(ends: tuple[Channel, Channel]) -> None:
    for size in range(3 * _MOST_FORMS):
        assert passed(ends, Arrays(None, [np.zeros(size, np.uint8)])).arrays[0].size == size
    assert len(ends[0]._writer._bodies) <= _MOST_FORMS
    assert len(ends[1]._reader._forms) <= _MOST_FORMS


def test_a_slot_is_kept_while_others_are_used(ends: tuple[Channel, Channel]) -> None:
    """What lies in place stays what it was until its own slot is used again."""
    first, second = ends
    held = []
    for slot in (1, 2, 3):
        first.send(Arrays(slot, [np.full(50_000, slot)]), in_place=True, slot=slot)
        held.append(second.receive().arrays[0])
        assert second.slot == slot
    assert [one[0] for one in held] == [1, 2, 3]
    first.send(Arrays(4, [np.full(50_000, 4)]), in_place=True, slot=2)
    second.receive()
    assert [one[-1] for one in held] == [1, 4, 3]
    held.clear()
