"""A tied embedding of Keras is one tensor in the file, however small, and stays one when pruned."""

import numpy as np
import onnx_ir as ir
import pytest

from converter import convert, prune

WORDS, WIDTH = 90, 16


def reversible(keras):
    table = keras.layers.ReversibleEmbedding(WORDS, WIDTH, tie_weights=True, name="words")
    ids = keras.Input((6,), dtype="int32", name="ids")
    x = keras.layers.Dense(512, activation="relu")(table(ids))
    x = keras.layers.LayerNormalization()(keras.layers.Dense(WIDTH)(x))
    return keras.Model(ids, table(x, reverse=True))


def by_hand(keras):
    class Words(keras.layers.Layer):
        def build(self, shape):
            self.table = self.add_weight((WORDS, WIDTH), "random_normal", name="table")

        def call(self, x):
            if x.dtype == "int32":
                return keras.ops.take(self.table, x, axis=0)
            return keras.ops.matmul(x, keras.ops.transpose(self.table))

        def compute_output_spec(self, x):
            width = WIDTH if x.dtype == "int32" else WORDS
            return keras.KerasTensor((*x.shape[:2], width), "float32")

    table = Words(name="words")
    ids = keras.Input((6,), dtype="int32", name="ids")
    x = keras.layers.Dense(512, activation="relu")(table(ids))
    return keras.Model(ids, table(keras.layers.Dense(WIDTH)(x)))


def tables(path):
    return [
        sorted(node.op_type for node in value.consumers())
        for value in ir.load(path).graph.initializers.values()
        if value.const_value.size == WORDS * WIDTH
    ]


@pytest.mark.sweep(2)
@pytest.mark.parametrize("build", [reversible, by_hand])
def test_the_table_is_there_once(keras, tmp_path, build):
    keras.utils.set_random_seed(0)
    convert(build(keras), tmp_path / "m.onnx")
    assert tables(tmp_path / "m.onnx") == [["Gather", "Transpose"]]
    ids = np.random.default_rng(0).integers(0, WORDS, size=(64, 6)).astype(np.int32)
    report = prune(
        tmp_path / "m.onnx",
        tmp_path / "pruned.onnx",
        {"ids": ids},
        min_agreement=0.0,
        min_sqnr=1.0,
    )
    assert report.kept
    assert tables(tmp_path / "pruned.onnx") == [["Gather", "Transpose"]]
