"""Models are replaced and removed, what is left over is collected; whatever dies in between."""

import multiprocessing
import os
import shutil

import numpy as np
import onnx_ir as ir
import pytest
from dying_process import DIED, dense_model, in_a_process

from runtimes import SharedWeights
from runtimes.errors import DataError, ModelError
from runtimes.weight_store.files import in_use, only_writer
from runtimes.weight_store.index import INDEX_NAME, read_whole_index
from runtimes.weight_store.store import (
    add_to_store,
    collect_store,
    create_store,
    load_stored,
    model_path,
    remove_from_store,
    store_names,
    verify_store,
)


@pytest.fixture
def files(tmp_path):
    return [dense_model(tmp_path, name, seed) for seed, name in enumerate("abc")]


@pytest.fixture
def store(tmp_path, files):
    create_store(tmp_path / "store", files[:2])
    return tmp_path / "store"


def weights(path):
    (value,) = ir.load(path).graph.initializers.values()
    return value.const_value.numpy()


def holds(store, name, path):
    """Whether the model of the store is the one in the file, as stored and as it runs."""
    (value,) = load_stored(store, name).graph.initializers.values()
    same = np.array_equal(value.const_value.numpy(), weights(path))
    assert same == np.array_equal(weights(model_path(store, name)), weights(path))
    return same


def test_a_model_takes_the_place_of_another(store, files):
    with pytest.raises(DataError, match="--force"):
        add_to_store(store, [files[2]], ["a"])
    add_to_store(store, [files[2]], ["a"], replace=True)
    assert holds(store, "a", files[2])
    assert holds(store, "b", files[1])
    check = verify_store(store)
    assert check.passed
    assert len(check.unused) == 1  # the weights that the old one had
    with pytest.raises(DataError, match="holds a model 'a' already"):
        add_to_store(store, [files[2]], ["A"], replace=True)


def test_what_is_removed_stays_until_it_is_collected(store, files):
    remove_from_store(store, ["a"])
    assert store_names(store) == ("b",)
    assert not (store / "a.onnx").exists()
    with pytest.raises(DataError, match="holds no model"):
        remove_from_store(store, ["b", "a"])
    assert holds(store, "b", files[1])
    collected = collect_store(store)
    assert [name.partition("/")[0] for name in collected.removed] == ["weights"]
    assert collected.removed_bytes == 16 * 16 * 4
    assert verify_store(store).unused == ()
    assert holds(store, "b", files[1])
    assert collect_store(store).removed == ()
    add_to_store(store, [files[0]])
    assert holds(store, "a", files[0])


def test_nothing_is_collected_that_is_not_the_stores(store, tmp_path):
    shutil.copyfile(store / "a.onnx", store / "copy.onnx")
    (store / "weights" / "notes.txt").write_text("mine")
    (store / "weights" / ("0" * 40)).write_text("mine, and not what its name says")
    remove_from_store(store, ["a"])
    collected = collect_store(store)
    assert (collected.kept, collected.removed) == (("copy.onnx",), ())
    assert weights(store / "copy.onnx").any()
    (store / "copy.onnx").unlink()
    assert len(collect_store(store).removed) == 1
    assert len(list((store / "weights").iterdir())) == 3


def test_a_damaged_store_is_not_collected(store):
    (store / "weights" / "aa").write_bytes(b"")
    (store / "a.onnx").write_bytes(b"damaged")
    before = sorted(store.rglob("*"))
    with pytest.raises(ModelError, match="damaged"):
        collect_store(store)
    assert sorted(store.rglob("*")) == before


def test_nothing_is_collected_while_somebody_reads_or_writes(store):
    remove_from_store(store, ["a"])
    with in_use(store / "weights"), pytest.raises(DataError, match="another process reads"):
        collect_store(store)
    with only_writer(store), pytest.raises(DataError, match="writing"):
        collect_store(store)
    with only_writer(store), pytest.raises(DataError, match="writing"):
        remove_from_store(store, ["b"])
    assert len(collect_store(store).removed) == 1


def test_a_file_that_came_in_the_place_of_a_removed_one_stays(store, files):
    code = in_a_process(lambda: remove_from_store(store, ["a"]), 5)  # before its file is removed
    assert code == DIED
    assert read_whole_index(store).changing == {"a": None}
    assert store_names(store) == ("b",)
    (store / "a.onnx").write_bytes(b"mine")
    add_to_store(store, [files[2]])
    assert (store / "a.onnx").read_bytes() == b"mine"
    assert store_names(store) == ("b", "c")


CHANGES = {
    "replace": lambda store, files: add_to_store(store, [files[2]], ["a"], replace=True),
    "add and replace": lambda store, files: add_to_store(
        store, [files[2], files[1]], ["new", "a"], replace=True
    ),
    "remove": lambda store, files: remove_from_store(store, ["a"]),
    "collect": lambda store, files: collect_store(store),
}


@pytest.mark.parametrize("what", CHANGES)
def test_every_step_of_a_change_may_be_the_last(tmp_path, files, what):
    for count in range(1, 100):
        store = tmp_path / f"store{count}"
        create_store(store, files[:2])
        if what == "collect":
            add_to_store(store, [files[2]])
            remove_from_store(store, ["c"])
        code = in_a_process(lambda to=store: CHANGES[what](to, files), count)
        assert code in (0, DIED)
        check = verify_store(store)
        assert check.passed, check.problems
        assert holds(store, "b", files[1])
        if "a" in store_names(store):
            assert holds(store, "a", files[0]) or what in ("replace", "add and replace")
        if code == 0:
            break
        # The next writer finds the store in order, and brings the change to its end.
        if what != "remove" or "a" in store_names(store):
            CHANGES[what](store, files)
        remove_from_store(store, ["b"])
        collect_store(store)
        check = verify_store(store)
        assert check.passed
        assert check.unused == ()
        assert read_whole_index(store).changing == {}
        assert '"format": 1' in (store / INDEX_NAME).read_text()
    assert count > {"collect": 1}.get(what, 5)


def change_at_random(store, files, seed):
    rng = np.random.default_rng(seed)
    for _ in range(12):
        work = [
            lambda: add_to_store(store, [files[rng.integers(3)]], ["x"], replace=True),
            lambda: remove_from_store(store, ["x"]),
            lambda: collect_store(store),
            lambda: load_stored(store, "a"),
        ][rng.integers(4)]
        while True:
            try:
                work()
            except DataError as error:
                if "holds no model" not in str(error):
                    continue  # the other one is writing, or reading
            break
    os._exit(0)


def test_two_writers_and_readers_leave_a_store_that_is_whole(store, files):
    fork = multiprocessing.get_context("fork")
    workers = [
        fork.Process(target=change_at_random, args=(store, files, seed)) for seed in range(2)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert verify_store(store).passed
    assert holds(store, "a", files[0])
    assert holds(store, "b", files[1])


def test_open_sessions_outlive_what_they_were_loaded_from(tmp_path, files):
    feed = {"x": np.ones((2, 16), np.float32)}
    with SharedWeights(tmp_path / "pool", threads=1) as shared:
        runtime = shared.open(files[0])
        before = runtime.run(feed)["y"]
        remove_from_store(tmp_path / "pool", store_names(tmp_path / "pool"))
        assert collect_store(tmp_path / "pool").removed
        np.testing.assert_array_equal(runtime.run(feed)["y"], before)
        np.testing.assert_array_equal(shared.open(files[0]).run(feed)["y"], before)
