"""A process that dies at any write leaves a store that holds what it held."""

import pytest
from dying_process import DIED, dense_model, in_a_process

from runtimes.weight_store.store import add_to_store, create_store, store_names, verify_store


def test_dying_while_adding_leaves_the_old_store(tmp_path):
    old, new = dense_model(tmp_path, "old", 0), dense_model(tmp_path, "new", 1)
    store = tmp_path / "store"
    create_store(store, [old])
    for count in range(1, 100):
        code = in_a_process(lambda: add_to_store(store, [new]), count)
        assert code in (0, DIED)
        check = verify_store(store)
        assert check.passed, check.problems
        if store_names(store) == ("new", "old"):
            break
        assert store_names(store) == ("old",)
    else:
        pytest.fail("it never came to its end")
    assert count > 8
    assert not [path for path in store.rglob(".writing-*") if code == 0]


def test_every_step_of_adding_may_be_the_last(tmp_path):
    """As before, from a fresh store each time: no step builds on what an earlier crash left."""
    old, new = dense_model(tmp_path, "old", 0), dense_model(tmp_path, "new", 1)
    for count in range(1, 100):
        store = tmp_path / f"store{count}"
        create_store(store, [old])
        code = in_a_process(lambda to=store: add_to_store(to, [new]), count)
        assert verify_store(store).passed
        if code == 0:
            break
        assert code == DIED
        if store_names(store) == ("old",):
            add_to_store(store, [new])
        assert store_names(store) == ("new", "old")
        assert verify_store(store).passed
        assert not list(store.rglob(".writing-*"))
    assert count > 15


def test_dying_while_creating_leaves_no_store(tmp_path):
    path = dense_model(tmp_path, "m", 0)
    for count in range(1, 100):
        store = tmp_path / f"store{count}"
        code = in_a_process(lambda to=store: create_store(to, [path]), count)
        if code == 0:
            break
        assert code == DIED
        if store.exists():  # died after it had its name
            assert verify_store(store).passed
            assert store_names(store) == ("m",)
    assert verify_store(store).passed
