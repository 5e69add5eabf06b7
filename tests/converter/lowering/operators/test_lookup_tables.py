"""Lookup tables: of strings and numbers, both ways, and what cannot be looked up."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

from runtimes.errors import UnsupportedOperator

WORDS = ["earth", "wind", "feuer", "eau", "größe"]


def run(model: Any, *arrays: Any) -> list[Any]:
    from converter.export.export import export

    exported = export(model)
    session = onnxruntime.InferenceSession(ir.to_proto(exported).SerializeToString())
    names = [value.name for value in session.get_inputs()]
    return list(session.run(None, dict(zip(names, arrays, strict=True))))


def lookup(keras: Any, layer: Any, dtype: str = "string") -> Any:
    tensor = keras.Input((None,), dtype=dtype)
    return keras.Model(tensor, layer(tensor))


def test_words_to_numbers_and_back(keras: Any) -> None:
    words = np.array([["größe", "nobody", "wind"]], object)
    (ids,) = run(lookup(keras, keras.layers.StringLookup(vocabulary=WORDS)), words)
    assert ids.tolist() == [[5, 0, 2]]
    back = keras.layers.StringLookup(vocabulary=WORDS, invert=True)
    (found,) = run(lookup(keras, back, "int64"), ids)
    assert found.tolist() == [["größe", "[UNK]", "wind"]]


def test_tables_bring_no_warnings(keras: Any, caplog: pytest.LogCaptureFixture) -> None:
    run(lookup(keras, keras.layers.StringLookup(vocabulary=WORDS)), np.array([WORDS], object))
    assert caplog.records == []


def test_two_tables_do_not_mix(keras: Any) -> None:
    tensor = keras.Input((None,), dtype="string")
    first = keras.layers.StringLookup(vocabulary=WORDS)
    second = keras.layers.StringLookup(vocabulary=WORDS[::-1], num_oov_indices=1)
    model = keras.Model(tensor, [first(tensor), second(tensor), first(tensor)])
    found = run(model, np.array([WORDS], object))
    forwards, backwards = [[1, 2, 3, 4, 5]], [[5, 4, 3, 2, 1]]
    assert [ids.tolist() for ids in found] == [forwards, backwards, forwards]


def test_a_learned_vocabulary(keras: Any) -> None:
    layer = keras.layers.StringLookup()
    layer.adapt(np.array(["b", "a", "a", "a", "b", "c"]))
    (ids,) = run(lookup(keras, layer), np.array([["a", "b", "c", "d"]], object))
    assert ids.tolist() == [[1, 2, 3, 0]]


@pytest.mark.parametrize("mode", ["one_hot", "multi_hot", "count"])
@pytest.mark.parametrize("length", [1, 3])
def test_what_is_looked_up_is_encoded(keras: Any, mode: str, length: int) -> None:
    """The rank of what comes out of a table is known: it is that of its keys."""
    tensor = keras.Input((length,), dtype="string")
    ids = keras.layers.StringLookup(vocabulary=WORDS)(tensor)
    model = keras.Model(tensor, keras.layers.CategoryEncoding(6, output_mode=mode)(ids))
    words = np.array([WORDS[:length], ["nobody"] * length], object)
    (found,) = run(model, words)
    np.testing.assert_array_equal(found, np.asarray(model(keras.ops.convert_to_tensor(words))))


def test_a_table_behind_a_table(keras: Any) -> None:
    tensor = keras.Input((2,), dtype="string")
    ids = keras.layers.StringLookup(vocabulary=WORDS)(tensor)
    ids = keras.layers.IntegerLookup(vocabulary=[5, 3], output_mode="multi_hot")(ids)
    (found,) = run(keras.Model(tensor, ids), np.array([["größe", "wind"]], object))
    assert found.tolist() == [[1, 1, 0]]


def test_a_feature_space(keras: Any) -> None:
    import tensorflow as tf

    Space = keras.utils.FeatureSpace
    data = {
        "length": np.array([0.1, 0.5, -1, 3, 2, 8], np.float32),
        "age": np.array([1, 40, 3, 9, 20, 60], np.float32),
        "kind": np.array(["a", "b", "c", "a", "zz", "b"]),
        "rooms": np.array([1, 2, 3, 1, 9, 2], np.int32),
    }
    space = Space(
        {
            "length": Space.float_normalized(),
            "age": Space.float_discretized(num_bins=4),
            "kind": Space.string_categorical(),
            "rooms": Space.integer_categorical(num_oov_indices=2),
        },
        output_mode="concat",
    )
    space.adapt(tf.data.Dataset.from_tensor_slices(data).batch(3))
    order = sorted(data)
    model = keras.Model([space.get_inputs()[name] for name in order], space.get_encoded_features())
    rows = [data[name][:, None] for name in order]
    expected = np.asarray(model([tf.constant(values) for values in rows]))
    (found,) = run(model, *(v.astype(object) if v.dtype.kind == "U" else v for v in rows))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_masked_words(keras: Any) -> None:
    layer = keras.layers.StringLookup(vocabulary=WORDS, mask_token="")
    (ids,) = run(lookup(keras, layer), np.array([["", "wind", "?"]], object))
    assert ids.tolist() == [[0, 3, 1]]


def test_numbers_of_two_unknowns(keras: Any) -> None:
    layer = keras.layers.IntegerLookup(vocabulary=[10, 20], num_oov_indices=2)
    (ids,) = run(lookup(keras, layer, "int64"), np.array([[10, 20, 4, 5]], np.int64))
    assert ids.tolist() == [[2, 3, 0, 1]]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "float16", "float32", "bool"])
def test_equal_in_every_type(keras: Any, parity: Any, dtype: str) -> None:
    import tensorflow as tf

    def compare(x: Any) -> Any:
        a = tf.cast(x, dtype)
        return tf.stack([tf.equal(a, a[:, ::-1]), tf.not_equal(a, a[:, ::-1])])

    tensor = keras.Input((4,))
    model = keras.Model(tensor, keras.layers.Lambda(compare)(tensor))
    parity(model, [[np.array([[0, 1, 2, 0], [3, 3, 3, 3]], np.float32)]])


def test_two_tensors_of_words_need_a_newer_opset(keras: Any) -> None:
    import tensorflow as tf

    from converter.export.export import export

    tensors = [keras.Input((3,), dtype="string") for _ in range(2)]
    layer = keras.layers.Lambda(lambda xs: tf.equal(*xs), name="same", dtype="bool")
    model = keras.Model(tensors, layer(tensors))
    with pytest.raises(UnsupportedOperator, match=r"'same'.*Equal.*from opset 19 on"):
        export(model)


def test_bytes_that_are_no_text_are_refused(keras: Any) -> None:
    import tensorflow as tf

    from converter.export.export import export

    table = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer([b"\xff\xfe", b"a"], tf.constant([1, 2], tf.int64)), -1
    )

    class Find(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return table.lookup(x)

        def compute_output_spec(self, x: Any) -> Any:
            return keras.KerasTensor(x.shape, dtype="int64")

    tensor = keras.Input((3,), dtype="string")
    with pytest.raises(UnsupportedOperator, match="not UTF-8"):
        export(keras.Model(tensor, Find(name="find")(tensor)))


def test_tables_of_other_types_are_refused(keras: Any) -> None:
    import tensorflow as tf

    from converter.export.export import export

    table = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(tf.constant([1, 2], tf.int64), [0.5, 1.5]), 0.0
    )

    class Find(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return table.lookup(x)

        def compute_output_spec(self, x: Any) -> Any:
            return keras.KerasTensor(x.shape, dtype="float32")

    tensor = keras.Input((3,), dtype="int64")
    with pytest.raises(UnsupportedOperator, match="strings and 64-bit integers only"):
        export(keras.Model(tensor, Find(name="find")(tensor)))
