"""A process that dies at any write leaves a store that holds what it held."""

import os
import traceback

import numpy as np
import onnx_ir as ir
import pytest

from runtimes.weight_store.store import add_to_store, create_store, store_names, verify_store

DIED = 9
STEPS = ("open", "write", "fsync", "replace", "mkdir", "unlink")


def model(folder, name, seed):
    value = ir.Value(name="w")
    tensor = ir.tensor(np.random.default_rng(seed).normal(size=(16, 16)).astype(np.float32))
    value.const_value, value.type, value.shape = tensor, ir.TensorType(tensor.dtype), tensor.shape
    x = ir.val("x", ir.DataType.FLOAT, ["N", 16])
    node = ir.node("MatMul", [x, value])
    node.outputs[0].name, node.outputs[0].type = "y", ir.TensorType(ir.DataType.FLOAT)
    graph = ir.Graph([x], node.outputs, nodes=[node], initializers=[value], opset_imports={"": 18})
    graph.name = "g"
    ir.save(ir.Model(graph, ir_version=9), folder / f"{name}.onnx")
    return folder / f"{name}.onnx"


def die_at(count):
    """Let this process die, without any cleaning up, at its ``count``-th step that writes.

    A write dies when half of it is done.
    """
    left = [count]

    def wrap(name, original):
        def step(*arguments, **options):
            if name == "open" and not arguments[1] & os.O_CREAT:
                return original(*arguments, **options)
            left[0] -= 1
            if left[0] == 0:
                if name == "write":
                    original(arguments[0], arguments[1][: len(arguments[1]) // 2])
                os._exit(DIED)
            return original(*arguments, **options)

        return step

    for name in STEPS:
        setattr(os, name, wrap(name, getattr(os, name)))


def in_a_process(work, count):
    """Run ``work`` in a child that dies at step ``count``; its exit code."""
    child = os.fork()
    if child == 0:
        try:
            die_at(count)
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_dying_while_adding_leaves_the_old_store(tmp_path):
    old, new = model(tmp_path, "old", 0), model(tmp_path, "new", 1)
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
    old, new = model(tmp_path, "old", 0), model(tmp_path, "new", 1)
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
    path = model(tmp_path, "m", 0)
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
