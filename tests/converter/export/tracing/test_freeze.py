"""What a function captured: small things as constants, large ones beside the graph."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from converter.export.tracing.freeze import freeze
from converter.lowering.variables import bytes_of, values_of
from runtimes.errors import ConversionError


@pytest.fixture(scope="module")
def tf(keras: Any) -> Any:
    import tensorflow

    return tensorflow


def concrete(tf: Any, function: Any, *specs: Any) -> Any:
    return tf.function(function, autograph=False).get_concrete_function(*specs)


def evaluate(tf: Any, graph_def: Any, output: str, feed: dict[str, Any]) -> Any:
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.import_graph_def(graph_def, name="")
        return session.run(output, feed)


def test_values_share_memory_with_the_variable(tf: Any) -> None:
    variable = tf.Variable(np.arange(6, dtype=np.float32).reshape(2, 3))
    values = values_of(variable)
    np.testing.assert_array_equal(values, [[0, 1, 2], [3, 4, 5]])
    assert not values.flags.owndata
    assert bytes_of(variable) == 24


@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e4m3fn"])
def test_values_of_types_without_a_buffer(tf: Any, dtype: str) -> None:
    values = values_of(tf.cast(tf.constant([1.0, 2.0]), dtype))
    assert values.dtype == np.dtype(getattr(ml_dtypes, dtype))
    np.testing.assert_array_equal(values.astype(np.float32), [1.0, 2.0])


def test_strings_are_read(tf: Any) -> None:
    assert values_of(tf.constant(["a", "bc"])).tolist() == [b"a", b"bc"]


@pytest.mark.parametrize("stand_in_above", [0, 1 << 20])
def test_the_graph_computes_the_same_either_way(tf: Any, stand_in_above: int) -> None:
    random = np.random.default_rng(0)
    weight = tf.Variable(random.normal(size=(4, 3)), name="weight")
    table = tf.Variable(random.normal(size=(7, 5, 2)), name="table")
    offset = tf.constant(random.normal(size=(3,)))

    def function(x: Any, rows: Any) -> Any:
        gathered = tf.gather(table, rows)
        paired = tf.gather_nd(table, tf.stack([rows, rows], 1))
        total = tf.reduce_sum(gathered) + tf.reduce_sum(paired)
        return tf.identity(x @ weight + offset + total, name="result")

    traced = concrete(
        tf, function, tf.TensorSpec([None, 4], tf.float64), tf.TensorSpec([2], tf.int32)
    )
    graph_def, stand_ins = freeze(traced, stand_in_above=stand_in_above)
    assert not any("Resource" in node.op or "Variable" in node.op for node in graph_def.node)
    assert {name for name, _ in stand_ins.values()} >= (
        {"weight", "table"} if stand_in_above == 0 else set()
    )
    assert bool(stand_ins) == (stand_in_above == 0)
    x, rows = random.normal(size=(2, 4)), np.int32([1, 3])
    feed = {traced.inputs[0].name: x, traced.inputs[1].name: rows}
    feed |= {tensor: values for tensor, (_, values) in stand_ins.items()}
    found = evaluate(tf, graph_def, traced.outputs[0].name, feed)
    np.testing.assert_allclose(found, function(tf.constant(x), tf.constant(rows)))


def test_gathering_by_batch(tf: Any) -> None:
    table = tf.Variable(np.arange(12.0).reshape(2, 6), name="table")

    def function(columns: Any) -> Any:
        gathered = tf.raw_ops.ResourceGather(
            resource=table.handle, indices=columns, dtype=tf.float64, batch_dims=1
        )
        return gathered + 0.0 * table[0, 0]  # lets the function know of the variable

    traced = concrete(tf, function, tf.TensorSpec([2, 1], tf.int32))
    graph_def, stand_ins = freeze(traced, stand_in_above=0)
    ((tensor, (_, values)),) = stand_ins.items()
    feed = {traced.inputs[0].name: np.int32([[1], [4]]), tensor: values}
    found = evaluate(tf, graph_def, traced.outputs[0].name, feed)
    np.testing.assert_array_equal(found, [[1], [10]])


def test_a_variable_in_a_loop_is_a_constant(tf: Any) -> None:
    weight = tf.Variable(np.eye(3), name="weight")

    def function(x: Any) -> Any:
        return tf.while_loop(lambda i, x: i < 3, lambda i, x: (i + 1, 2 * x @ weight), (0, x))[1]

    traced = concrete(tf, function, tf.TensorSpec([1, 3], tf.float64))
    graph_def, stand_ins = freeze(traced, stand_in_above=0)
    assert stand_ins == {}
    found = evaluate(
        tf, graph_def, traced.outputs[0].name, {traced.inputs[0].name: np.ones((1, 3))}
    )
    np.testing.assert_array_equal(found, np.full((1, 3), 8))


def test_constants_that_no_graph_can_hold(tf: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("converter.export.tracing.freeze._CONSTANTS_LIMIT_BYTES", 100)
    weight = tf.Variable(np.eye(5), name="weight")

    def function(x: Any) -> Any:
        return tf.while_loop(lambda i, x: i < 3, lambda i, x: (i + 1, x @ weight), (0, x))[1]

    traced = concrete(tf, function, tf.TensorSpec([1, 5], tf.float64))
    with pytest.raises(ConversionError, match="more than 2 GB"):
        freeze(traced, stand_in_above=0)


def test_writing_to_a_variable(tf: Any) -> None:
    state = tf.Variable(1.0, name="state")
    traced = concrete(tf, state.assign, tf.TensorSpec([], tf.float32))
    with pytest.raises(ConversionError, match=r"'state' when it runs \(AssignVariableOp\)"):
        freeze(traced, stand_in_above=0)
