"""``convert`` of SavedModel folders, and of Keras models with a SavedModel inside."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

from converter import convert
from converter.export.node_names import LAYER_KEY
from runtimes.errors import ConversionError, DataError


@pytest.fixture(scope="module")
def tf(keras: Any) -> Any:
    import tensorflow

    return tensorflow


@pytest.fixture
def save(tf: Any, tmp_path: Path) -> Callable[..., Path]:
    """Save a function as the default signature of a module that holds ``attributes``."""

    def make(function: Callable[..., Any], *specs: Any, **attributes: Any) -> Path:
        module = tf.Module()
        for name, value in attributes.items():
            setattr(module, name, value)
        module.call = tf.function(function, input_signature=list(specs))
        tf.saved_model.save(module, tmp_path / "model", signatures=module.call)
        return tmp_path / "model"

    return make


def run(path: Path, **feed: Any) -> dict[str, Any]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, feed), strict=True))


def test_a_keras_export_becomes_the_graph_of_its_model(
    digits_model: Any, digits: Any, tmp_path: Path, kilnx: Any
) -> None:
    digits_model.export(tmp_path / "digits", verbose=False)
    code, _, err = kilnx("convert", tmp_path / "digits", "-o", tmp_path / "model.onnx")
    assert code == 0, err
    images = digits[1]["image"][:4]
    found = run(tmp_path / "model.onnx", image=images)["output_0"]
    np.testing.assert_allclose(found, digits_model.predict(images, verbose=0), atol=1e-4)

    convert(digits_model, tmp_path / "live.onnx")
    graph, live = (ir.load(tmp_path / name).graph for name in ("model.onnx", "live.onnx"))
    assert [n.op_type for n in graph] == [n.op_type for n in live]
    layers = {node.metadata_props[LAYER_KEY] for node in graph}
    assert not any("PartitionedCall" in layer or "kilnx" in layer for layer in layers)
    # Keras numbers the scopes of an export: the layer conv2d_1 comes out as conv2d_1_2.
    names = "|".join(layer.name for layer in digits_model.layers)
    assert all(re.fullmatch(rf"({names})(_\d+)?", layer) for layer in layers)


def test_weights_travel_beside_the_graph(tf: Any, tmp_path: Path, save: Any) -> None:
    random = np.random.default_rng(0)
    weight = tf.Variable(random.normal(size=(200, 150)).astype("f"), name="weight")
    table = tf.Variable(random.normal(size=(600, 40)).astype("f"), name="table")
    constant = tf.constant(random.normal(size=(150, 150)).astype("f"))

    def call(x: Any, ids: Any) -> Any:
        return {"y": (x @ weight) @ constant, "rows": tf.gather(table, ids)}

    path = save(
        call,
        tf.TensorSpec([None, 200], tf.float32, name="x"),
        tf.TensorSpec([None, 3], tf.int32, name="ids"),
        weight=weight,
        table=table,
        constant=constant,
    )
    convert(path, tmp_path / "model.onnx")
    x = random.normal(size=(2, 200)).astype("f")
    ids = np.int32([[0, 1, 599], [3, 4, 5]])
    found = run(tmp_path / "model.onnx", x=x, ids=ids)
    np.testing.assert_allclose(found["y"], x @ weight.numpy() @ constant.numpy(), rtol=1e-4)
    np.testing.assert_array_equal(found["rows"], table.numpy()[ids])
    graph = ir.load(tmp_path / "model.onnx").graph
    assert sorted(i.name for i in graph.inputs) == ["ids", "x"]
    assert sorted(node.op_type for node in graph) == ["Gather", "MatMul", "MatMul"]


def test_a_loop_over_a_large_variable(tf: Any, tmp_path: Path, save: Any) -> None:
    weight = tf.Variable(np.eye(150, dtype="f") * 2, name="weight")

    def call(x: Any) -> Any:
        for _ in tf.range(3):
            x = x @ weight
        return x

    path = save(call, tf.TensorSpec([None, 150], tf.float32, name="x"), weight=weight)
    convert(path, tmp_path / "model.onnx")
    x = np.ones((2, 150), np.float32)
    np.testing.assert_array_equal(run(tmp_path / "model.onnx", x=x)["output_0"], x * 8)


def test_a_lookup_table(tf: Any, tmp_path: Path, save: Any) -> None:
    table = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(["yes", "no"], [7, 9], tf.string, tf.int64), -1
    )
    path = save(table.lookup, tf.TensorSpec([None, 1], tf.string, name="word"), table=table)
    convert(path, tmp_path / "model.onnx")
    words = np.array([["no"], ["perhaps"], ["yes"]], dtype=object)
    found = run(tmp_path / "model.onnx", word=words)["output_0"]
    np.testing.assert_array_equal(found, [[9], [-1], [7]])


def test_state_is_refused(tf: Any, tmp_path: Path, save: Any) -> None:
    count = tf.Variable(0.0, name="count")
    path = save(
        lambda x: x + count.assign_add(1.0),
        tf.TensorSpec([None, 1], tf.float32, name="x"),
        count=count,
    )
    with pytest.raises(ConversionError, match=r"writes to its variable 'count'.*no state"):
        convert(path, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_the_signature_is_chosen(tf: Any, tmp_path: Path, kilnx: Any) -> None:
    module = tf.Module()
    spec = tf.TensorSpec([None, 2], tf.float32, name="x")
    module.double = tf.function(lambda x: {"twice": x * 2.0}, input_signature=[spec])
    module.triple = tf.function(lambda x: {"thrice": x * 3.0}, input_signature=[spec])
    signatures = {"double": module.double, "triple": module.triple}
    tf.saved_model.save(module, tmp_path / "model", signatures=signatures)
    with pytest.raises(DataError, match="several signatures"):
        convert(tmp_path / "model", tmp_path / "model.onnx")
    code, _, err = kilnx(
        "convert",
        tmp_path / "model",
        "-o",
        tmp_path / "model.onnx",
        "--signature-key",
        "triple",
    )
    assert code == 0, err
    x = np.ones((1, 2), np.float32)
    assert list(run(tmp_path / "model.onnx", x=x)) == ["thrice"]


def test_an_unknown_rank_is_stated_by_the_user(tf: Any, tmp_path: Path, save: Any) -> None:
    path = save(lambda x: tf.reshape(x, [-1, 4]) * 2.0, tf.TensorSpec(None, tf.float32, name="x"))
    with pytest.raises(ConversionError, match="--signature"):
        convert(path, tmp_path / "model.onnx")
    convert(path, tmp_path / "model.onnx", signature={"x": ((None, 2, 2), "float32")})
    (found,) = run(tmp_path / "model.onnx", x=np.ones((3, 2, 2), np.float32)).values()
    np.testing.assert_array_equal(found, np.full((3, 4), 2))


def test_a_masked_backward_loop_reads_the_reversed_mask(tf: Any, tmp_path: Path, save: Any) -> None:
    """What Keras 2 writes for Bidirectional on a masked sequence, in small."""
    random = np.random.default_rng(0)
    table = tf.Variable(random.normal(size=(9, 5)).astype("f"))
    weight = tf.Variable(random.normal(size=(5, 5)).astype("f"))

    def scan(steps: Any, mask: Any) -> Any:
        state = tf.zeros([tf.shape(steps)[1], 5])
        for step in tf.range(tf.shape(steps)[0]):
            updated = tf.tanh((state + steps[step]) @ weight)
            state = tf.where(mask[step], updated, state)
            state = tf.ensure_shape(state, [None, 5])
        return state

    def call(ids: Any) -> Any:
        steps = tf.transpose(tf.gather(table, ids), [1, 0, 2])
        mask = tf.transpose(tf.not_equal(ids, 0)[:, :, None], [1, 0, 2])
        forward = scan(steps, mask)
        backward = scan(tf.reverse(steps, [0]), tf.reverse(mask, [0]))
        return tf.concat([forward, backward], 1)

    path = save(call, tf.TensorSpec([None, 6], tf.int32, name="ids"), table=table, weight=weight)
    convert(path, tmp_path / "model.onnx", data={"ids": np.int32([[0, 0, 4, 5, 0, 2]] * 3)})
    ids = random.integers(0, 3, (4, 6)).astype(np.int32)
    found = run(tmp_path / "model.onnx", ids=ids)["output_0"]
    np.testing.assert_allclose(found, call(ids), atol=1e-5)


def test_a_tfsm_layer_has_no_inputs_of_its_own(
    keras: Any, digits_model: Any, digits: Any, tmp_path: Path
) -> None:
    digits_model.export(tmp_path / "digits", verbose=False)
    image = keras.Input((16, 16, 1), name="image")
    reloaded = keras.layers.TFSMLayer(str(tmp_path / "digits"), call_endpoint="serve")
    scores = keras.layers.Softmax(name="scores")(reloaded(keras.layers.Rescaling(0.5)(image)))
    model = keras.Model(image, scores)
    convert(model, tmp_path / "model.onnx")
    images = digits[1]["image"][:4]
    found = run(tmp_path / "model.onnx", image=images)
    np.testing.assert_allclose(found["scores"], model.predict(images, verbose=0), atol=1e-4)

    model.save(tmp_path / "model.keras")
    with pytest.raises(ConversionError, match=r"TFSMLayer.*--unsafe"):
        convert(tmp_path / "model.keras", tmp_path / "again.onnx")
    convert(tmp_path / "model.keras", tmp_path / "again.onnx", unsafe=True)
    again = run(tmp_path / "again.onnx", image=images)
    np.testing.assert_array_equal(again["scores"], found["scores"])
