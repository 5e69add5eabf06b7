"""What a user may give as data, how it is split and bound, and what is refused."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes import DataError, Dataset, TensorSpec

X = np.arange(24, dtype=np.float32).reshape(6, 4)
LABELS = np.arange(6)


def spec(name: str, shape: tuple[int | str | None, ...], dtype: Any = np.float32) -> TensorSpec:
    return TensorSpec(name, np.dtype(dtype), shape)


INPUT = [spec("image", ("batch", 4))]


def rows(data: Dataset, name: str, batch_size: int = 4) -> np.ndarray:
    return np.concatenate([batch.feed[name] for batch in data.batches(batch_size)])


def positions(data: Dataset) -> list[int]:
    return [int(i) for batch in data.batches(4) for i in batch.indices]


class Loader:
    """What Keras calls a PyDataset: a length and items."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return X[2 * index : 2 * index + 2], LABELS[2 * index : 2 * index + 2]


def batches() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    yield X[:4], LABELS[:4]
    yield X[4:], LABELS[4:]


KINDS = [
    *("npz", "compressed", "dict", "lists", "generator function", "list", "loader"),
    pytest.param("tf", marks=pytest.mark.keras),
]


@pytest.fixture(params=KINDS)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """The same samples as everything that users have."""
    if request.param == "tf":
        request.getfixturevalue("keras")
        import tensorflow as tf

        return tf.data.Dataset.from_tensor_slices((X, LABELS)).batch(4)
    np.savez(tmp_path / "plain.npz", image=X, labels=LABELS)
    np.savez_compressed(tmp_path / "compressed.npz", image=X, labels=LABELS)
    return {
        "npz": tmp_path / "plain.npz",
        "compressed": str(tmp_path / "compressed.npz"),
        "dict": {"image": X, "labels": LABELS},
        "lists": {"image": X.tolist(), "labels": LABELS.tolist()},
        "generator function": batches,
        "list": list(batches()),
        "loader": Loader(),
    }[request.param]


def test_every_kind_of_source_gives_the_same_samples(source: Any) -> None:
    data = Dataset.open(source, inputs=INPUT)
    for _ in range(2):  # and gives them again
        read = list(data.batches(5))
        assert [len(batch) for batch in read] == [5, 1]
        np.testing.assert_array_equal(rows(data, "image"), X)
        np.testing.assert_array_equal(np.concatenate([b.labels[""] for b in read]), LABELS)
        assert read[0].feed["image"].dtype == np.float32
    assert data.label_names == ("",)
    assert data.num_samples in (6, None)


def test_every_kind_of_source_is_split_alike(source: Any) -> None:
    one, other = Dataset.open(source, inputs=INPUT).split(0.5, seed=3)
    expected, _ = Dataset.open({"image": X, "labels": LABELS}).split(0.5, seed=3)
    assert positions(one) == positions(expected)
    assert sorted(positions(one) + positions(other)) == list(range(6))
    np.testing.assert_array_equal(rows(other, "image"), X[positions(other)])


@given(st.integers(2, 300), st.floats(0.001, 0.999), st.integers(0, 2**63), st.integers(0, 2**31))
def test_a_split_is_a_partition_of_the_size_asked_for(
    count: int, fraction: float, seed: int, again: int
) -> None:
    data = Dataset.open(np.arange(count))
    one, other = data.split(fraction, seed)
    first, rest = positions(one), positions(other)
    assert sorted(first + rest) == list(range(count))
    assert first == sorted(first)
    assert rest == sorted(rest)
    assert len(first) == min(max(round(count * fraction), 1), count - 1)
    if len(first) > 1:  # a part can be split again, and stays apart from the rest
        inner, outer = one.split(0.5, again)
        assert sorted(positions(inner) + positions(outer)) == first


def test_a_split_does_not_change_between_versions() -> None:
    one, _ = Dataset.open(np.arange(20)).split(0.25)
    assert positions(one) == [2, 4, 6, 8, 18]
    one, _ = Dataset.open(np.arange(20)).split(0.25, seed=1)
    assert positions(one) != [2, 4, 6, 8, 18]


def test_neighbours_do_not_stay_together() -> None:
    one, _ = Dataset.open(np.arange(10_000)).split(0.5)
    chosen = np.isin(np.arange(10_000), positions(one))
    assert 0.45 < np.mean(chosen[1:] == chosen[:-1]) < 0.55


def test_the_split_says_how() -> None:
    one, other = Dataset.open({"image": X}).split(1 / 3, seed=7)
    assert "6 samples of the data split by position at random (seed 7): 2 here" in one.notes
    assert other.notes[0].endswith("4 here")


@pytest.mark.parametrize("fraction", [0, 1, -0.5])
def test_a_split_needs_a_fraction(fraction: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        Dataset.open(X).split(fraction)


def test_one_sample_cannot_be_split() -> None:
    with pytest.raises(DataError, match="one sample, which cannot be split"):
        Dataset.open(X[:1]).split(0.5)


@given(st.integers(1, 20), st.integers(1, 20))
def test_take_is_the_beginning(count: int, asked: int) -> None:
    taken = Dataset.open(lambda: iter([np.arange(count)])).take(asked)
    assert positions(taken) == list(range(min(count, asked)))


def test_take_of_a_part_is_the_beginning_of_the_part() -> None:
    part, _ = Dataset.open(np.arange(20)).split(0.5)
    assert positions(part.take(3)) == positions(part)[:3]
    with pytest.raises(ValueError, match="at least 1"):
        part.take(0)


def test_a_dataset_is_given_back_as_it_is() -> None:
    data = Dataset.open(X)
    assert Dataset.open(data) is data
    with pytest.raises(ValueError, match="batch_size"):
        next(data.batches(0))


def test_one_array_fits_one_input_whatever_its_name() -> None:
    data = Dataset.open({"keras_tensor_60": X, "labels": LABELS}, inputs=INPUT)
    assert data.input_names == ("image",)
    np.testing.assert_array_equal(rows(data, "image"), X)


def test_several_inputs_go_by_name_or_by_place() -> None:
    specs = [spec("a", ("n", 4)), spec("b", ("n",), np.int64)]
    by_name = Dataset.open({"b": LABELS, "a": X}, inputs=specs)
    by_place = Dataset.open([((X, LABELS), None)], inputs=specs)
    for data in (by_name, by_place):
        np.testing.assert_array_equal(rows(data, "a"), X)
        np.testing.assert_array_equal(rows(data, "b"), LABELS)


def test_labels_of_outputs_by_name() -> None:
    data = Dataset.open({"x": X, "labels:face": LABELS, "labels:pose": X})
    assert data.label_names == ("face", "pose")
    batch = next(data.batches(6))
    np.testing.assert_array_equal(batch.labels["face"], LABELS)
    from_dict = Dataset.open([(X, {"face": LABELS})])
    np.testing.assert_array_equal(next(from_dict.batches(6)).labels["face"], LABELS)


def test_an_input_may_be_called_labels() -> None:
    data = Dataset.open({"labels": X}, inputs=[spec("labels", (None, 4))])
    assert data.label_names == ()
    np.testing.assert_array_equal(rows(data, "labels"), X)


def test_single_samples_are_batched(keras: Any) -> None:
    import tensorflow as tf

    unbatched = tf.data.Dataset.from_tensor_slices((X, LABELS))
    data = Dataset.open(unbatched, inputs=INPUT)
    np.testing.assert_array_equal(rows(data, "image"), X)
    alone = Dataset.open(list(X), inputs=INPUT)
    np.testing.assert_array_equal(rows(alone, "image"), X)
    assert alone.input_names == ("image",)


def test_casts_are_noted_and_keep_their_meaning() -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(6, 4)
    data = Dataset.open(pixels, inputs=INPUT)
    np.testing.assert_array_equal(rows(data, "image"), X)
    assert data.notes == ("image: uint8 made float32, values 0…255 kept as they are",)
    assert Dataset.open(X, inputs=INPUT).notes == ()
    assert Dataset.open(X.astype(">f4"), inputs=INPUT).notes == ()
    assert rows(Dataset.open(X.astype(">f4"), inputs=INPUT), "image").dtype == np.float32


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"a": X, "b": X}, r"arrays 'a', 'b', but the model's inputs are 'image'; name each"),
        (X[:, :3], r"'image' expects samples of shape \[4\], found \[3\]"),
        (X.reshape(6, 2, 2), r"expects samples of shape \[4\], found \[2, 2\]"),
        (X.astype(complex), "expects float32, found complex128"),
        (np.array([["a"] * 4]), "expects float32, found text"),
        ({"labels": LABELS}, "holds labels only, no inputs"),
        ({"image": X, "labels": np.array([1j] * 6)}, "'labels' holds complex.*by their index"),
        ({"image": X, "labels": LABELS[:5]}, "'image' has 6 samples and 'labels' has 5"),
        ({}, "holds no arrays"),
        ([], "holds no samples|is not data"),
        (X[:0], "holds no samples"),
        ({"image": [[1.0, 2.0], [3.0]]}, "is not an array"),
        ("no/such/file.npz", r"no/such/file\.npz: no such file"),
        (3.5, "is a scalar|is not data"),
        (None, "a NoneType is not data; give an"),
        ((x for x in [X]), "can be read only once"),
        (
            [{"image": X}, {"image": X, "extra": X}],
            r"from sample 6 on, the arrays are image, extra instead of image",
        ),
    ],
)
def test_data_that_do_not_fit(source: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        list(Dataset.open(source, inputs=INPUT).batches(100))


def test_floats_never_become_integers() -> None:
    with pytest.raises(DataError, match=r"expects int32, found float32.*integer dtype"):
        Dataset.open(X, inputs=[spec("ids", (None, 4), np.int32)])


def test_nan_is_found_where_it_is(source: Any) -> None:
    del source  # the place in the source counts, also in a part of it
    bad = X.copy()
    bad[4, 1] = np.nan
    data = Dataset.open({"image": bad}, inputs=INPUT)
    with pytest.raises(DataError, match="the array 'image' holds NaN at sample 4"):
        list(data.batches(3))
    bad[4, 1] = np.inf
    with pytest.raises(DataError, match="'data' holds infinity at sample 4"):
        list(Dataset.open(bad, inputs=INPUT).split(0.5)[0].batches(1)) + list(
            Dataset.open(bad, inputs=INPUT).split(0.5)[1].batches(1)
        )
    with pytest.raises(DataError, match="'labels' holds NaN at sample 2"):
        list(Dataset.open({"x": X, "labels": [0, 1, np.nan, 2, 3, 4]}).batches(6))


def test_a_later_batch_of_another_shape_or_dtype_is_refused() -> None:
    with pytest.raises(DataError, match=r"expects samples of shape \[4\], found \[3\]"):
        list(Dataset.open([X, X[:, :3]], inputs=INPUT).batches(6))
    with pytest.raises(DataError, match="expects float32, found complex"):
        list(Dataset.open([X, X.astype(complex)], inputs=INPUT).batches(6))


def test_dynamic_dimensions_are_batched_by_shape() -> None:
    texts = [np.ones((3, 5)), np.ones((2, 8))]
    data = Dataset.open(texts, inputs=[spec("text", ("batch", "length"))])
    assert [batch.feed["text"].shape for batch in data.batches(4)] == [(3, 5), (2, 8)]


def test_an_endless_dataset_is_refused(keras: Any) -> None:
    import tensorflow as tf

    endless = tf.data.Dataset.from_tensor_slices(X).batch(2).repeat()
    with pytest.raises(DataError, match="repeats without end"):
        Dataset.open(endless)


def test_a_shuffled_dataset_is_refused(keras: Any) -> None:
    import tensorflow as tf

    shuffled = tf.data.Dataset.from_tensor_slices(X).shuffle(6, seed=1).batch(2)
    data = Dataset.open(shuffled, inputs=INPUT)
    with pytest.raises(DataError, match="shuffled"):
        [list(data.batches(6)) for _ in range(5)]  # an order may come twice by chance


def test_files_that_are_no_data(tmp_path: Path) -> None:
    (tmp_path / "notes.npz").write_text("not an archive")
    with pytest.raises(DataError, match="is not data that can be read; give an"):
        Dataset.open(tmp_path / "notes.npz")
    np.save(tmp_path / "x.npy", X)
    np.testing.assert_array_equal(rows(Dataset.open(tmp_path / "x.npy"), "data"), X)


def test_a_pair_is_samples_and_labels() -> None:
    x, y = np.arange(12, dtype=np.float32).reshape(6, 2), np.arange(6)
    for source in ((x, y), ({"x": x}, y), (x, {"": y}), (x, y, np.ones(6))):
        (batch,) = Dataset.open(source).batches(6)
        (values,) = batch.feed.values()
        np.testing.assert_array_equal(values, x)
        (labels,) = batch.labels.values()
        np.testing.assert_array_equal(labels, y)
    with pytest.raises(DataError, match=r"6 and 5|5 and 6|6.*5|5.*6"):
        Dataset.open((x, y[:5]))


def test_a_tuple_of_batches_stays_one() -> None:
    batches = ((np.zeros((2, 3)), np.zeros(2)), (np.ones((2, 3)), np.ones(2)))
    assert [len(batch) for batch in Dataset.open(batches).batches(4)] == [4]


SPECS = [TensorSpec("image", np.dtype(np.float32), (None, 4))]


@pytest.mark.parametrize("kind", ["U", "S", "O"])
def test_names_of_classes_become_their_places(kind: str) -> None:
    names = np.array(["fox", "cat", "dog", "cat", "fox", "cat"]).astype(kind)
    found = Dataset.open({"image": X, "labels": names}, inputs=SPECS)
    assert found.class_names == {"": ("cat", "dog", "fox")}
    assert found.notes[0] == "labels: classes by name, in order: 'cat' is 0, 'dog' is 1, 'fox' is 2"
    assert found.all_labels("").tolist() == [2, 0, 1, 0, 2, 0]
    # A part that lacks a class numbers the others as the whole does.
    assert found.take(2).all_labels("").tolist() == [2, 0]
    (batch,) = found.take(3).batches(8)
    assert batch.labels[""].tolist() == [2, 0, 1]


def test_texts_that_name_no_classes_are_refused() -> None:
    data = {"image": np.zeros((300, 4), "f"), "labels": np.array([f"row {k}" for k in range(300)])}
    with pytest.raises(DataError, match="a text of its own for every sample"):
        Dataset.open(data)


def test_samples_may_go_without_their_labels() -> None:
    found = Dataset.open({"image": X, "labels": LABELS}, inputs=SPECS)
    assert found.all_labels("").tolist() == LABELS.tolist()
    bare = found.without_labels()
    assert (bare.label_names, bare.num_samples, bare.implied_labels) == ((), 6, False)
    assert bare.take(3).label_names == ()
    assert next(bare.batches(6)).labels == {}
