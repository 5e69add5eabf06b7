"""A SavedModel is a program: what of it may touch more than its own tensors is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtimes import ConversionError
from runtimes.keras_models.saved_model import load_saved_model


@pytest.fixture(scope="module")
def tf(keras: Any) -> Any:
    import tensorflow

    return tensorflow


@pytest.fixture
def save(tf: Any, tmp_path: Path) -> Callable[..., Path]:
    """Save a function of one float input as the default signature."""

    def make(function: Callable[[Any], Any], **attributes: Any) -> Path:
        module = tf.Module()
        for name, value in attributes.items():
            setattr(module, name, value)
        spec = tf.TensorSpec([None, 2], tf.float32, name="x")
        module.call = tf.function(function, input_signature=[spec])
        path = tmp_path / "model"
        tf.saved_model.save(module, path, signatures=module.call)
        return path

    return make


def test_reading_and_writing_files(tf: Any, save: Callable[..., Path], tmp_path: Path) -> None:
    secret, stolen = tmp_path / "secret", tmp_path / "stolen"
    secret.write_text("1.5")

    def call(x: Any) -> Any:
        content = tf.io.read_file(str(secret))
        with tf.control_dependencies([tf.io.write_file(str(stolen), content)]):
            return x + tf.strings.to_number(content)

    path = save(call)
    with pytest.raises(ConversionError, match=r"ReadFile \(in .*WriteFile.*--unsafe"):
        load_saved_model(path)
    assert not stolen.exists()
    model = load_saved_model(path, unsafe=True)
    np.testing.assert_array_equal(
        model({"x": np.zeros((1, 2), np.float32)})["output_0"], [[1.5, 1.5]]
    )


def test_python_functions(tf: Any, save: Callable[..., Path]) -> None:
    def call(x: Any) -> Any:
        return tf.ensure_shape(tf.numpy_function(lambda y: y, [x], tf.float32), [None, 2])

    with pytest.raises(ConversionError, match="PyFunc"):
        load_saved_model(save(call))


def test_printing_to_a_file(tf: Any, save: Callable[..., Path], tmp_path: Path) -> None:
    def call(x: Any) -> Any:
        tf.print(x, output_stream=f"file://{tmp_path / 'printed'}")
        return x

    with pytest.raises(ConversionError, match="PrintV2"):
        load_saved_model(save(call))


def test_an_operator_inside_a_branch_is_found(tf: Any, save: Callable[..., Path]) -> None:
    def call(x: Any) -> Any:
        return tf.cond(
            tf.reduce_sum(x) > 0.0,
            lambda: x + tf.cast(tf.strings.length(tf.io.read_file("/etc/hostname")), tf.float32),
            lambda: x,
        )

    with pytest.raises(ConversionError, match="ReadFile"):
        load_saved_model(save(call))


def test_code_that_runs_while_loading(tf: Any, save: Callable[..., Path], tmp_path: Path) -> None:
    """The function that fills a resource runs when the folder is loaded, whatever is called."""
    from tensorflow.python.trackable.resource import CapturableResource

    touched = tmp_path / "touched"

    class Trap(CapturableResource):  # type: ignore[misc]
        def _create_resource(self) -> Any:
            return tf.raw_ops.HashTableV2(key_dtype=tf.int64, value_dtype=tf.int64)

        def _initialize(self) -> Any:
            with tf.control_dependencies([tf.io.write_file(str(touched), "loaded")]):
                return tf.constant(1.0)

    path = save(lambda x: x, trap=Trap())
    touched.unlink(missing_ok=True)
    with pytest.raises(ConversionError, match="WriteFile"):
        load_saved_model(path)
    assert not touched.exists()
    load_saved_model(path, unsafe=True)
    assert touched.read_text() == "loaded"


def test_variables_tables_and_random_numbers_are_harmless(
    tf: Any, save: Callable[..., Path]
) -> None:
    table = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer([3, 5], [0, 1], tf.int64, tf.int64), -1
    )
    weight = tf.Variable([2.0, 3.0])

    def call(x: Any) -> Any:
        found = tf.cast(table.lookup(tf.cast(x, tf.int64)), tf.float32)
        return found * weight + 0.0 * tf.random.normal([2]) * tf.random.uniform([])

    model = load_saved_model(save(call, table=table, weight=weight))
    outputs = model({"x": np.float32([[5, 4]])})["output_0"]
    np.testing.assert_array_equal(outputs, [[2.0, -3.0]])


def vocabulary_model(tf: Any, vocabulary: Path) -> Any:
    """Words to numbers by a vocabulary file, which becomes an asset of the SavedModel."""
    module = tf.Module()
    module.table = tf.lookup.StaticHashTable(
        tf.lookup.TextFileInitializer(
            str(vocabulary),
            tf.string,
            tf.lookup.TextFileIndex.WHOLE_LINE,
            tf.int64,
            tf.lookup.TextFileIndex.LINE_NUMBER,
        ),
        -1,
    )
    module.call = tf.function(
        module.table.lookup,
        input_signature=[tf.TensorSpec([None], tf.string, name="words")],
    )
    return module


def test_a_vocabulary_among_the_assets_is_the_models_own(tf: Any, tmp_path: Path) -> None:
    (tmp_path / "vocabulary.txt").write_text("yes\nno\n")
    module = vocabulary_model(tf, tmp_path / "vocabulary.txt")
    tf.saved_model.save(module, tmp_path / "model", signatures=module.call)
    model = load_saved_model(tmp_path / "model")
    found = model({"words": np.array(["no", "maybe"])})["output_0"]
    np.testing.assert_array_equal(found, [1, -1])


def test_a_vocabulary_outside_is_not(tf: Any, tmp_path: Path) -> None:
    (tmp_path / "vocabulary.txt").write_text("yes\nno\n")
    module = vocabulary_model(tf, tmp_path / "vocabulary.txt")
    tf.saved_model.save(module, tmp_path / "model", signatures=module.call)
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    proto = tmp_path / "model" / "saved_model.pb"
    content = SavedModel.FromString(proto.read_bytes())
    (asset,) = content.meta_graphs[0].asset_file_def
    asset.filename = "../../../../etc/passwd"
    proto.write_bytes(content.SerializeToString())
    with pytest.raises(ConversionError, match=r"an asset outside the model \('\.\./"):
        load_saved_model(tmp_path / "model")


@pytest.mark.parametrize("reads", [False, True])
def test_version_1_graphs(tf: Any, tmp_path: Path, reads: bool) -> None:
    """What the graph holds for training is never run, and what it runs is looked at."""
    path = tmp_path / "version_1"
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        x = tf.compat.v1.placeholder(tf.float32, [None], name="x")
        weight = tf.compat.v1.get_variable("w", initializer=tf.constant(2.0))
        content = tf.strings.to_number(tf.io.read_file(str(tmp_path / "samples")))
        y = x * weight + (content if reads else 0.0)
        session.run(tf.compat.v1.global_variables_initializer())
        builder = tf.compat.v1.saved_model.Builder(str(path))
        signature = tf.compat.v1.saved_model.predict_signature_def({"x": x}, {"y": y})
        builder.add_meta_graph_and_variables(
            session, ["serve"], signature_def_map={"serving_default": signature}
        )
        builder.save()
    if reads:
        with pytest.raises(ConversionError, match="ReadFile"):
            load_saved_model(path)
    else:
        model = load_saved_model(path)
        np.testing.assert_array_equal(model({"x": np.float32([3])})["y"], [6.0])
