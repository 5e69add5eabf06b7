"""Tables by column name, and datasets of Hugging Face, as data."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtimes import TensorSpec
from runtimes.data.dataset import Dataset
from runtimes.errors import DataError, RuntimeUnavailable

CSV = "age,income,label\n30,1.5,1\n40,2.5,0\n50,3.5,1\n"
FLOAT, INT = np.dtype(np.float32), np.dtype(np.int64)


def one_input(width: int | None = 2) -> list[TensorSpec]:
    return [TensorSpec("features", FLOAT, ("n", width))]


def batch(data: Dataset) -> Any:
    return next(iter(data.batches(8)))


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    pytest.importorskip("pyarrow")
    (tmp_path / "people.csv").write_text(CSV)
    return tmp_path / "people.csv"


def test_columns_become_one_input_in_their_order(csv: Path) -> None:
    found = batch(Dataset.open(csv, inputs=one_input()))
    np.testing.assert_array_equal(found.feed["features"], [[30, 1.5], [40, 2.5], [50, 3.5]])
    assert found.feed["features"].dtype == np.float32
    np.testing.assert_array_equal(found.labels[""], [1, 0, 1])


def test_columns_become_inputs_of_their_name_and_rank(csv: Path) -> None:
    specs = [TensorSpec("income", FLOAT, ("n", 1)), TensorSpec("age", INT, ("n",))]
    found = batch(Dataset.open(csv, inputs=specs))
    assert {name: array.shape for name, array in found.feed.items()} == {
        "income": (3, 1),
        "age": (3,),
    }


def test_a_table_can_be_split_like_other_data(csv: Path) -> None:
    first, second = Dataset.open(csv, inputs=one_input()).split(0.5)
    rows = np.concatenate([batch(part).feed["features"] for part in (first, second)])
    assert sorted(rows[:, 0]) == [30, 40, 50]


def test_parquet_and_arrow_hold_the_same(csv: Path) -> None:
    from pyarrow import csv as reader
    from pyarrow import parquet

    table = reader.read_csv(csv)
    parquet.write_table(table, csv.with_suffix(".parquet"))
    expected = batch(Dataset.open(csv, inputs=one_input()))
    for source in (table, csv.with_suffix(".parquet")):
        found = batch(Dataset.open(source, inputs=one_input()))
        np.testing.assert_array_equal(found.feed["features"], expected.feed["features"])
        np.testing.assert_array_equal(found.labels[""], expected.labels[""])


@pytest.mark.parametrize(
    ("text", "width", "message"),
    [
        (CSV, 3, "takes 3 columns, and the table has 2 besides labels: 'age', 'income'"),
        ("age,town,label\n1,Rome,0\n", 2, "'town' holds text"),
        ("age,income\n1,\n2,\n", 2, "'income' has missing values"),
        ("", 2, "cannot be read as a table"),
    ],
)
def test_what_does_not_fit_is_said(text: str, width: int, message: str, csv: Path) -> None:
    csv.write_text(text)
    with pytest.raises(DataError, match=message):
        Dataset.open(csv, inputs=one_input(width))


def test_a_value_that_is_missing_is_named_by_its_column() -> None:
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.table({"age": [1.0, 2.0, 3.0], "income": [1.0, float("nan"), 2.0]})
    with pytest.raises(DataError, match=r"the column 'income' has no value in row 1; fill it"):
        Dataset.open(table, inputs=one_input())


def test_a_column_that_is_not_there_is_named(csv: Path) -> None:
    specs = [TensorSpec("age", INT, ("n",)), TensorSpec("height", FLOAT, ("n",))]
    with pytest.raises(DataError, match=r"no column 'height'.*'age', 'income'"):
        Dataset.open(csv, inputs=specs)


def test_without_pyarrow_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "people.csv").write_text(CSV)
    with pytest.raises(RuntimeUnavailable, match=r"pyarrow is not installed.*\[tabular\]"):
        Dataset.open(tmp_path / "people.csv")


def frame(columns: dict[str, Any]) -> Any:
    """What of a ``pandas.DataFrame`` is asked, without pandas."""

    class Series(np.ndarray):
        def to_numpy(self) -> Any:
            return np.asarray(self)

    class DataFrame(dict):  # type: ignore[type-arg]
        iloc = None

        @property
        def columns(self) -> list[str]:
            return list(self)

    DataFrame.__module__ = "pandas"
    return DataFrame({k: np.asarray(v).view(Series) for k, v in columns.items()})


def test_a_frame_is_a_table() -> None:
    data = Dataset.open(frame({"a": [1.0, 2.0], "b": [3.0, 4.0], "target": [0, 1]}))
    found = batch(data.bind(one_input()))
    np.testing.assert_array_equal(found.feed["features"], [[1, 3], [2, 4]])
    np.testing.assert_array_equal(found.labels[""], [0, 1])


def hub(rows: dict[str, Any]) -> Any:
    """What of a ``datasets.Dataset`` is asked, without that package."""

    class HubDataset:
        def with_format(self, kind: str) -> Any:
            assert kind == "numpy"
            return self

        def remove_columns(self, names: list[str]) -> Any:
            return hub({key: values for key, values in rows.items() if key not in names})

        def __len__(self) -> int:
            return len(next(iter(rows.values())))

        def __getitem__(self, places: list[int]) -> Any:
            return {key: [values[place] for place in places] for key, values in rows.items()}

    HubDataset.__module__ = "datasets.arrow_dataset"
    return HubDataset()


def test_columns_of_the_hub_that_the_model_does_not_read_are_left_out() -> None:
    rows = {"x": np.ones((4, 2), np.float32), "id": list("abcd"), "label": [0, 1, 0, 1]}
    bound = Dataset.open(hub(rows), inputs=[TensorSpec("x", FLOAT, ("n", 2))])
    assert batch(bound).feed.keys() == {"x"}
    np.testing.assert_array_equal(batch(bound).labels[""], [0, 1, 0, 1])
    with pytest.raises(DataError, match=r"arrays 'x', 'id'"):  # neither is called as the input is
        Dataset.open(hub(rows), inputs=[TensorSpec("picture", FLOAT, ("n", 2))])


def test_rows_of_the_hub_are_samples() -> None:
    images = np.arange(5 * 4, dtype=np.float32).reshape(5, 2, 2)
    data = Dataset.open(hub({"image": images, "label": [3, 1, 4, 1, 5]}))
    bound = data.bind([TensorSpec("input", FLOAT, ("n", 2, 2))])  # any name fits a single input
    assert bound.num_samples == 5
    first, second = bound.split(0.4)
    assert first.num_samples == 2
    rows = {float(one[0, 0]) for part in (first, second) for one in batch(part).feed["input"]}
    assert rows == {0, 4, 8, 12, 16}
    np.testing.assert_array_equal(batch(bound).labels[""], [3, 1, 4, 1, 5])


def test_rows_of_several_shapes_are_refused() -> None:
    with pytest.raises(DataError, match="map"):
        Dataset.open(hub({"image": [np.zeros((2, 2)), np.zeros((3, 2))]}))
    with pytest.raises(DataError, match="no samples"):
        Dataset.open(hub({"image": []}))
