"""Files of arrays: mapped, streamed, and refused when they are damaged."""

import pickle
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtimes.data import numpy_files as npyfile
from runtimes.data.numpy_files import open_npy, open_npz
from runtimes.data.sources import ArraySource, Source, StreamSource
from runtimes.errors import DataError


def whole(source: Source, batch_size: int = 7) -> dict[str, np.ndarray]:
    batches = list(source.read(None, batch_size))
    return {key: np.concatenate([batch[key] for batch in batches]) for key in batches[0]}


def flip(path: Path, position: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[position] ^= 0xFF
    path.write_bytes(raw)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(
    count=st.integers(1, 30),
    shape=st.lists(st.integers(0, 4), max_size=3),
    dtype=st.sampled_from(["<f4", ">f8", "<i8", "|u1", "?", "<f2"]),
    fortran=st.booleans(),
    compressed=st.booleans(),
    chunk=st.integers(1, 200),
)
def test_what_numpy_saved_is_what_is_read(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    count: int,
    shape: list[int],
    dtype: str,
    fortran: bool,
    compressed: bool,
    chunk: int,
) -> None:
    monkeypatch.setattr(npyfile, "_CHUNK_BYTES", chunk)
    rng = np.random.default_rng(count)
    array = rng.integers(0, 2, (count, *shape)).astype(dtype)
    array = np.asfortranarray(array) if fortran else array
    labels = np.arange(count)
    path = tmp_path / "data.npz"
    (np.savez_compressed if compressed else np.savez)(path, x=array, labels=labels)
    source = open_npz(path)
    assert source.num_samples == count
    assert isinstance(source, StreamSource if compressed else ArraySource)
    found = whole(source)
    np.testing.assert_array_equal(found["x"], array)
    assert found["x"].dtype.newbyteorder("=") == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(found["labels"], labels)


def test_a_large_fortran_array_is_refused_only_where_it_cannot_be_streamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(npyfile, "_WHOLE_BYTES", 100)
    array = np.asfortranarray(np.arange(60.0).reshape(20, 3))
    np.savez(tmp_path / "plain.npz", x=array)
    np.testing.assert_array_equal(whole(open_npz(tmp_path / "plain.npz"))["x"], array)
    np.savez_compressed(tmp_path / "small.npz", x=array)
    with pytest.raises(DataError, match=r"Fortran order.*numpy\.ascontiguousarray"):
        open_npz(tmp_path / "small.npz")


def test_an_npy_file_is_mapped(tmp_path: Path) -> None:
    array = np.arange(60, dtype=np.float32).reshape(20, 3)
    np.save(tmp_path / "x.npy", array)
    source = open_npy(tmp_path / "x.npy", "data")
    np.testing.assert_array_equal(whole(source)["data"], array)
    assert source.columns[0].shape == (None, 3)


@pytest.mark.parametrize("compressed", [False, True])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, compressed: bool) -> None:
    path = tmp_path / "large.npz"
    save = np.savez_compressed if compressed else np.savez
    save(path, x=np.zeros((4000, 4096), np.float32))  # 64 MB
    tracemalloc.start()
    try:
        source = open_npz(path)
        total = sum(len(batch["x"]) for batch in source.read(None, 16))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total == 4000
    assert peak < 16e6


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_truncated_file_is_refused(tmp_path: Path, save: object) -> None:
    path = tmp_path / "data.npz"
    save(path, x=np.random.default_rng(0).random((50, 50)))  # type: ignore[operator]
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) // 2])
    with pytest.raises(DataError, match=r"not an \.npz file that can be read, or it is truncated"):
        open_npz(path)


def test_damaged_bytes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez_compressed(path, x=np.random.default_rng(0).random((50, 50)))
    flip(path, 5000)
    with pytest.raises(DataError, match="save it again"):
        list(open_npz(path).read(None, 8))


def test_a_header_that_promises_more_than_there_is(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.save(tmp_path / "x.npy", np.zeros((10, 4)))
    raw = (tmp_path / "x.npy").read_bytes()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", raw[:-8])
    with pytest.raises(DataError, match="array 'x' is truncated"):
        open_npz(path)
    (tmp_path / "x.npy").write_bytes(raw[:-8])
    with pytest.raises(DataError, match="truncated"):
        open_npy(tmp_path / "x.npy", "data")


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (pytest.fail, ("the pickle ran",))

    np.savez(tmp_path / "a.npz", x=np.array([Bomb(), None], object))
    with pytest.raises(DataError, match="'x' holds pickled Python objects"):
        open_npz(tmp_path / "a.npz")
    np.save(tmp_path / "a.npy", np.array([Bomb(), None], object))
    with pytest.raises(DataError, match="pickled Python objects"):
        open_npy(tmp_path / "a.npy", "data")
    (tmp_path / "b.npy").write_bytes(pickle.dumps([1]))
    with pytest.raises(DataError, match="not a numpy array that can be read"):
        open_npy(tmp_path / "b.npy", "data")


def test_members_that_are_no_arrays(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(DataError, match=r"holds 'readme\.txt', which is not an array"):
        open_npz(path)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros((3, 2)), "labels": np.zeros(4)}, "'x' has 3 samples and 'labels' has 4"),
        ({"x": np.zeros((0, 2))}, "holds no samples"),
        ({"x": np.float64(3)}, "'x' is a scalar"),
        ({}, "holds no arrays"),
    ],
)
def test_counts_are_checked_before_anything_is_read(
    tmp_path: Path, save: object, arrays: dict[str, np.ndarray], message: str
) -> None:
    save(tmp_path / "data.npz", **arrays)  # type: ignore[operator]
    with pytest.raises(DataError, match=message):
        open_npz(tmp_path / "data.npz")


def header(text: str) -> bytes:
    raw = text.encode().ljust(118) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(raw).to_bytes(2, "little") + raw


@pytest.mark.parametrize(
    "text",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 9223372036854775807, 9), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 4), }",
        "{'descr': '|S0', 'fortran_order': False, 'shape': (1000000000000,), }",
        "{'descr': ('<f4', (2, 2)), 'fortran_order': False, 'shape': (4,), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (4,), }",
        "{'descr': '<q9', 'fortran_order': False, 'shape': (4,), }",
        "(" * 100,
        "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "1, " * 20 + "), }",
    ],
)
def test_a_header_that_is_wrong_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "d.npy").write_bytes(header(text))
    with zipfile.ZipFile(tmp_path / "d.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", header(text))
    for read in (lambda: open_npy(tmp_path / "d.npy", "x"), lambda: open_npz(tmp_path / "d.npz")):
        with pytest.raises(DataError) as caught:
            read()
        assert "\n" not in str(caught.value)


def test_an_archive_made_to_fill_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(npyfile, "_WHOLE_BYTES", 1 << 20)
    np.savez_compressed(tmp_path / "bomb.npz", x=np.zeros((64, 1 << 16), np.uint8))
    with pytest.raises(DataError, match=r"bomb\.npz expands \d+-fold to 4,194"):
        open_npz(tmp_path / "bomb.npz")
    large = np.random.default_rng(0).integers(0, 256, (1, 3 << 20), np.uint8)
    np.savez_compressed(tmp_path / "row.npz", x=large)
    with pytest.raises(DataError, match="a sample of the array 'x' takes 3,145,728 bytes"):
        open_npz(tmp_path / "row.npz")


def test_an_array_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((3, 2), np.float32))
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        archive.write(tmp_path / "x.npy", "x.npy")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.write(tmp_path / "x.npy", "x.npy")
    with pytest.raises(DataError, match="two arrays 'x'"):
        open_npz(tmp_path / "d.npz")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_scalar_beside_samples_is_the_value_of_each(tmp_path: Path, save: Any) -> None:
    save(tmp_path / "d.npz", x=np.zeros((30, 2), np.float32), rate=np.int64(16000))
    source = open_npz(tmp_path / "d.npz")
    assert {column.name: column.shape for column in source.columns}["rate"] == (None,)
    np.testing.assert_array_equal(whole(source)["rate"], np.full(30, 16000))
