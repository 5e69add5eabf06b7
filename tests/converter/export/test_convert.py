"""``convert``: right, named, proven; or a clear refusal and no file."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from converter import convert
from converter.export.node_names import LAYER_KEY
from runtimes.errors import ConversionError, DataError, ModelError


def run(path: Path, **feed: Any) -> list[Any]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return list(session.run(None, feed))


def test_a_cnn_matches_keras_under_its_own_names(
    digits_model: Any, digits: Any, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    report = convert(digits_model, path)
    images = digits[1]["image"][:5]
    np.testing.assert_allclose(
        run(path, image=images)[0], digits_model.predict(images, verbose=0), atol=1e-4
    )
    model = onnx.load(path)
    (output,) = model.graph.output
    assert [i.name for i in model.graph.input] == ["image"]
    assert output.name == "digit"
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert output.type.tensor_type.shape.dim[0].dim_param == "batch"
    assert {proof.batch for proof in report.proofs} == {1, 3}
    assert all(proof.max_abs_error <= proof.allowed for proof in report.proofs)


def test_batch_normalization_is_folded_and_nodes_name_their_layer(
    digits_model: Any, tmp_path: Path
) -> None:
    convert(digits_model, tmp_path / "model.onnx")
    graph = ir.load(tmp_path / "model.onnx").graph
    types = [node.op_type for node in graph]
    assert "BatchNormalization" not in types
    assert types.count("Conv") == 4
    assert "Mul" not in types
    convolutions = [node.metadata_props.get(LAYER_KEY) for node in graph if node.op_type == "Conv"]
    named = {layer.name for layer in digits_model.layers}
    assert set(convolutions) <= named
    assert len(set(convolutions)) == 4


def test_an_lstm_over_tokens_takes_integers(keras: Any, tmp_path: Path) -> None:
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((12,), dtype="int32", name="tokens"),
            keras.layers.Embedding(20, 8),
            keras.layers.LSTM(10, return_sequences=True),
            keras.layers.LSTM(6),
            keras.layers.Dense(3, activation="softmax", name="language"),
        ]
    )
    path = tmp_path / "lstm.onnx"
    convert(model, path)
    tokens = np.random.default_rng(0).integers(0, 20, (4, 12), dtype=np.int32)
    np.testing.assert_allclose(
        run(path, tokens=tokens)[0], model.predict(tokens, verbose=0), atol=1e-5
    )
    types = [node.op_type for node in ir.load(path).graph]
    assert types.count("LSTM") == 2
    assert "Loop" not in types


def test_dict_inputs_and_several_outputs_keep_their_names(keras: Any, tmp_path: Path) -> None:
    left, right = keras.Input((4,), name="left"), keras.Input((4,), name="right")
    both = keras.layers.Concatenate()([left, right])
    model = keras.Model(
        {"left": left, "right": right},
        {"sum": keras.layers.Dense(2)(both), "score": keras.layers.Dense(1)(both)},
    )
    path = tmp_path / "two.onnx"
    convert(model, path)
    proto = onnx.load(path)
    assert sorted(i.name for i in proto.graph.input) == ["left", "right"]
    assert sorted(o.name for o in proto.graph.output) == ["score", "sum"]
    feed = {name: np.ones((2, 4), np.float32) * i for i, name in enumerate(["left", "right"])}
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    expected = model(feed)
    for name in ("sum", "score"):
        np.testing.assert_allclose(session.run([name], feed)[0], expected[name], atol=1e-5)


def test_a_fixed_batch_stays_fixed(keras: Any, tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input(batch_shape=(2, 3), name="x"), keras.layers.Dense(1)])
    report = convert(model, tmp_path / "fixed.onnx")
    dims = onnx.load(tmp_path / "fixed.onnx").graph.input[0].type.tensor_type.shape.dim
    assert dims[0].dim_value == 2
    assert {proof.batch for proof in report.proofs} == {2}


def test_eager_constants_are_embedded(keras: Any, tmp_path: Path) -> None:
    normalize = keras.layers.Normalization(mean=[1.0, 2.0], variance=[4.0, 9.0])
    model = keras.Sequential([keras.Input((2,), name="x"), normalize, keras.layers.Dense(2)])
    path = tmp_path / "normalized.onnx"
    convert(model, path)
    assert [i.name for i in onnx.load(path).graph.input] == ["x"]


def test_hdf5_is_told_by_its_content(digits_model: Any, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras calls the format legacy
        digits_model.save(tmp_path / "model.h5")
    odd = (tmp_path / "model.h5").rename(tmp_path / "model.weights_and_more")
    report = convert(odd, tmp_path / "model.onnx")
    assert report.nodes > 5


def test_a_lambda_layer_runs_only_when_told(keras: Any, tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x * 2.0)])
    model.save(tmp_path / "lambda.keras")
    with pytest.raises(ConversionError, match="--unsafe"):
        convert(tmp_path / "lambda.keras", tmp_path / "lambda.onnx")
    assert list(tmp_path.glob("*.onnx")) == []
    convert(tmp_path / "lambda.keras", tmp_path / "lambda.onnx", unsafe=True)
    np.testing.assert_allclose(
        next(iter(_outputs(tmp_path / "lambda.onnx", np.ones((1, 2), np.float32)))), [[2.0, 2.0]]
    )


def _outputs(path: Path, values: Any) -> list[Any]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return list(session.run(None, {session.get_inputs()[0].name: values}))


def test_a_custom_layer_is_asked_for_by_name(keras: Any, tmp_path: Path) -> None:
    source = tmp_path / "my_layers.py"
    source.write_text(
        "import keras\n"
        "class Twice(keras.layers.Layer):\n"
        "    def call(self, x):\n"
        "        return x * 2.0\n"
    )
    from runtimes.keras_models.load import load_custom_objects

    custom = load_custom_objects(source)
    model = keras.Sequential([keras.Input((2,)), custom["Twice"]()])
    model.save(tmp_path / "twice.keras")
    with pytest.raises(ConversionError, match=r"'Twice'.*--custom"):
        convert(tmp_path / "twice.keras", tmp_path / "twice.onnx")
    convert(tmp_path / "twice.keras", tmp_path / "twice.onnx", custom_objects=custom)
    np.testing.assert_allclose(
        _outputs(tmp_path / "twice.onnx", np.ones((1, 2), np.float32))[0], [[2.0, 2.0]]
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "neither a .keras nor an HDF5"),
        (b"not a model at all", "neither a .keras nor an HDF5"),
        (b"PK\x03\x04 cut off", "truncated"),
        (b"\x89HDF\r\n\x1a\n cut off", "truncated"),
    ],
)
def test_files_that_are_no_models(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "model.keras").write_bytes(content)
    with pytest.raises(ModelError, match=message):
        convert(tmp_path / "model.keras", tmp_path / "model.onnx")
    assert [p.name for p in tmp_path.iterdir()] == ["model.keras"]


def test_weights_without_a_model(digits_model: Any, tmp_path: Path) -> None:
    digits_model.save_weights(tmp_path / "only.weights.h5")
    with pytest.raises(ConversionError, match="only weights"):
        convert(tmp_path / "only.weights.h5", tmp_path / "model.onnx")


def test_a_users_file_is_not_replaced(digits_model: Any, tmp_path: Path) -> None:
    mine, ours = tmp_path / "mine.onnx", tmp_path / "ours.onnx"
    mine.write_text("precious")
    for force in (False, True):
        with pytest.raises(DataError, match="--force"):
            convert(digits_model, mine, force=force)
    assert mine.read_text() == "precious"
    convert(digits_model, ours)
    with pytest.raises(DataError, match="replace it with --force"):
        convert(digits_model, ours)
    convert(digits_model, ours, force=True)
    assert onnx.load(ours).graph.output[0].name == "digit"


def test_the_source_is_never_replaced(digits_files: Path, tmp_path: Path) -> None:
    source = tmp_path / "model.keras"
    source.write_bytes((digits_files / "model.keras").read_bytes())
    (tmp_path / "link.onnx").symlink_to(source)
    (tmp_path / "hard.onnx").hardlink_to(source)
    for output in (source, tmp_path / "link.onnx", tmp_path / "hard.onnx"):
        with pytest.raises(DataError, match="an output never replaces an input"):
            convert(source, output, force=True)
    assert source.read_bytes() == (digits_files / "model.keras").read_bytes()


def test_a_wrong_graph_never_gets_a_name(
    digits_model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proof is what stands between a defect of the export and the user."""
    from converter.export import convert as conversion

    original = conversion.export

    def damaged(*arguments: Any, **options: Any) -> ir.Model:
        model = original(*arguments, **options)
        bias = next(
            value
            for value in model.graph.initializers.values()
            if value.const_value is not None and value.const_value.shape.numpy() == (10,)
        )
        bias.const_value = ir.tensor(bias.const_value.numpy() + np.float32(0.05))
        return model

    monkeypatch.setattr(conversion, "export", damaged)
    with pytest.raises(ConversionError, match="'digit' differs"):
        convert(digits_model, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_the_same_model_gives_the_same_bytes(digits_model: Any, tmp_path: Path) -> None:
    for name in ("first", "second"):
        convert(digits_model, tmp_path / f"{name}.onnx")
    assert (tmp_path / "first.onnx").read_bytes() == (tmp_path / "second.onnx").read_bytes()
