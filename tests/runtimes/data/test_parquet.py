"""Parquet and arrays that are read in place: here, and in an object store."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtimes import DataError, Dataset, TensorSpec
from runtimes.data import open_source, parquet
from runtimes.data.remote import url_of

pyarrow = pytest.importorskip("pyarrow")
fsspec = pytest.importorskip("fsspec")

FLOAT = np.dtype(np.float32)
INPUTS = [TensorSpec("features", FLOAT, ("n", 2))]
TOTAL = 57
TABLE = {
    "a": np.arange(TOTAL, dtype=np.float64),
    "b": np.arange(TOTAL, dtype=np.float64) ** 2,
    "label": np.array([f"class {number % 3}" for number in range(TOTAL)]),
}


def write(path: Path, start: int = 0, stop: int = TOTAL, **columns: Any) -> Path:
    from pyarrow import parquet as writer

    rows = {name: values[start:stop] for name, values in (TABLE | columns).items()}
    path.parent.mkdir(exist_ok=True)
    writer.write_table(pyarrow.table(rows), path, row_group_size=8)
    return path


@pytest.fixture
def whole(tmp_path: Path) -> Dataset:
    return Dataset.open(write(tmp_path / "whole.parquet"), inputs=INPUTS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, (start, stop) in enumerate(((0, 20), (20, 21), (21, TOTAL))):
        write(tmp_path / "parts" / f"part-{number}.parquet", start, stop)
    return tmp_path / "parts"


@pytest.fixture
def store(folder: Path) -> str:
    """The same folder, and an array, in an object store."""
    memory = fsspec.filesystem("memory")
    for path in sorted(folder.iterdir()):
        memory.pipe(f"/bucket/parts/{path.name}", path.read_bytes())
    return "memory://bucket/parts"


def rows_of(data: Dataset) -> tuple[Any, Any, list[int]]:
    batches = list(data.batches(4))
    return (
        np.concatenate([one.feed["features"] for one in batches]),
        np.concatenate([one.labels[""] for one in batches]),
        np.concatenate([one.indices for one in batches]).tolist(),
    )


def same(one: Dataset, two: Dataset) -> None:
    for left, right in zip(rows_of(one), rows_of(two), strict=True):
        np.testing.assert_array_equal(left, right)


def test_a_folder_holds_the_rows_of_its_files_in_order(whole: Dataset, folder: Path) -> None:
    parts = Dataset.open(folder, inputs=INPUTS)
    assert parts.num_samples == TOTAL
    assert parts.class_names == whole.class_names
    same(parts, whole)
    same(parts.split(0.4)[0], whole.split(0.4)[0])
    same(parts.shard(1, 3, block=8), whole.shard(1, 3, block=8))


def test_an_object_store_holds_the_same(whole: Dataset, store: str) -> None:
    same(Dataset.open(store, inputs=INPUTS), whole)
    same(Dataset.open(Path(store), inputs=INPUTS), whole)
    one = Dataset.open(f"{store}/part-0.parquet", inputs=INPUTS)
    same(one, whole.take(20))
    assert pickle.loads(pickle.dumps(Dataset.open(Path(store)))).num_samples == TOTAL


def test_a_large_file_is_read_row_group_by_row_group(
    whole: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_source, "_MOST_AT_ONCE", 0)
    large = Dataset.open(tmp_path / "whole.parquet", inputs=INPUTS)
    same(large, whole)
    read: list[int] = []
    table = parquet.ParquetSource._table
    monkeypatch.setattr(
        parquet.ParquetSource,
        "_table",
        lambda self, group: (read.append(group.number), table(self, group))[1],
    )
    shard = large.shard(1, 3, block=16)
    read.clear()
    assert rows_of(shard)[2] == list(range(16, 32))
    assert set(read) == {2, 3}


def test_an_array_in_an_object_store(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(40, 3, 2)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    memory = fsspec.filesystem("memory")
    memory.pipe("/bucket/x.npy", (tmp_path / "x.npy").read_bytes())
    inputs = [TensorSpec("features", FLOAT, ("n", 3, 2))]
    here, there = (
        Dataset.open(where, inputs=inputs)
        for where in (tmp_path / "x.npy", "memory://bucket/x.npy")
    )
    for one, two in ((here, there), (here.split(0.3)[1], there.split(0.3)[1])):
        for left, right in zip(one.batches(7), two.batches(7), strict=True):
            np.testing.assert_array_equal(left.feed["features"], right.feed["features"])
    memory.pipe("/bucket/cut.npy", (tmp_path / "x.npy").read_bytes()[:-9])
    with pytest.raises(DataError, match="ended before sample 39"):
        list(Dataset.open("memory://bucket/cut.npy", inputs=inputs).batches(8))


def test_what_cannot_be_read_in_place_is_refused(folder: Path, store: str) -> None:
    write(folder / "part-9.parquet", c=np.ones(TOTAL))
    with pytest.raises(DataError, match=r"part-9.parquet has other columns than"):
        Dataset.open(folder)
    (folder / "part-9.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(DataError, match=r"part-9.parquet cannot be read as a table"):
        Dataset.open(folder)
    with pytest.raises(DataError, match="no file, and no folder of Parquet"):
        Dataset.open("memory://bucket/nothing")
    fsspec.filesystem("memory").pipe("/bucket/x.npz", b"PK")
    with pytest.raises(DataError, match="copy it here"):
        Dataset.open("memory://bucket/x.npz")
    with pytest.raises(DataError, match="Protocol not known"):
        Dataset.open("nowhere://bucket/x.npy")


def test_paths_of_this_machine_are_no_addresses() -> None:
    assert url_of("s3://bucket/x") == url_of(Path("s3://bucket/x")) == "s3://bucket/x"
    for path in ("/data/x.npy", "data:x", "C:/x", "../a://b"):
        assert url_of(path) is None
