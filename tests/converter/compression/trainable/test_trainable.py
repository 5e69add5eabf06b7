"""Compressed models as Keras models: what they are before, after, and as files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

from quantizers import GraphModel, PrunedModel, QuantizedModel, SharedModel
from runtimes.engines.ort import OrtRuntime
from runtimes.errors import DataError, ModelError
from runtimes.onnx_files.load_save import load_model

pytestmark = pytest.mark.keras

Digits = tuple[dict[str, Any], dict[str, Any]]


def _compiled(keras: Any, model: GraphModel, rate: float = 2e-3) -> GraphModel:
    keras.utils.set_random_seed(0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
    return model


def _accuracy(model: GraphModel, samples: dict[str, Any]) -> float:
    return float(model.evaluate(samples["image"], samples["labels"], verbose=0)[1])


def _answers(path: Path, image: NDArray[Any]) -> NDArray[Any]:
    with OrtRuntime(path, threads=1) as runtime:
        return next(iter(runtime.run({"image": image}).values()))


def _scales(graph: ir.Graph) -> dict[str, NDArray[Any]]:
    """The scales by name; some were made per tensor, and named after their weights."""
    values = (node.inputs[1] for node in graph if node.op_type.endswith("uantizeLinear"))
    return {value.name: value.const_value.numpy() for value in values}


def _fit(model: GraphModel, samples: dict[str, Any], epochs: int = 2) -> None:
    model.fit(samples["image"], samples["labels"], batch_size=64, epochs=epochs, verbose=0)


def _check_files(keras: Any, model: GraphModel, image: NDArray[Any], folder: Path) -> None:
    """Saved and loaded it predicts the same; the ONNX file answers the same but for rounding."""
    predicted = model.predict(image, verbose=0)
    model.save(folder / "model.keras")
    loaded = keras.models.load_model(folder / "model.keras")
    np.testing.assert_array_equal(loaded.predict(image, verbose=0), predicted)
    loaded.to_onnx(folder / "model.onnx")
    answers = _answers(folder / "model.onnx", image)
    noise = np.mean(np.square(answers - predicted)) / np.mean(np.square(predicted))
    assert noise < 1e-3
    assert np.mean(answers.argmax(1) == predicted.argmax(1)) > 0.99


@pytest.mark.sweep(2)
@pytest.mark.parametrize("learn_scales", [True, False])
def test_four_bits_per_tensor_are_recovered(
    keras: Any, digits: Digits, digits_onnx: Path, tmp_path: Path, learn_scales: bool
) -> None:
    train, test = digits
    model = QuantizedModel(
        digits_onnx, train, weight_bits=4, per_channel=False, learn_scales=learn_scales
    )
    start = model.graph().graph
    before = _accuracy(_compiled(keras, model), test)
    _fit(model, train, 4)
    full = _accuracy(_compiled(keras, GraphModel(digits_onnx)), test)
    assert _accuracy(model, test) > max(before, full - 0.02)
    _check_files(keras, model, test["image"], tmp_path)
    graph = load_model(tmp_path / "model.onnx").graph
    weights = [v.const_value for v in graph.initializers.values() if v.const_value.dtype == 3]
    weights = [tensor.numpy() for tensor in weights if len(tensor.shape) > 1]
    assert len(weights) == 5
    assert max(np.abs(codes).max() for codes in weights) <= 7
    scales, first = _scales(graph), _scales(start)
    assert all(np.all(array > 0) for array in scales.values())
    assert learn_scales == any(np.any(scales[name] != first[name]) for name in first)


@pytest.mark.slow
def test_an_int8_file_is_trained_as_it_is(
    keras: Any, digits: Digits, digits_onnx: Path, tmp_path: Path
) -> None:
    first = QuantizedModel(digits_onnx, digits[0])
    first.to_onnx(tmp_path / "int8.onnx")
    model = QuantizedModel(tmp_path / "int8.onnx")
    np.testing.assert_array_equal(
        model.predict(digits[1]["image"], verbose=0), first.predict(digits[1]["image"], verbose=0)
    )
    before = load_model(tmp_path / "int8.onnx").graph
    _compiled(keras, model)
    _fit(model, digits[0], 1)
    after = model.graph().graph
    assert [node.name for node in after] == [node.name for node in before]
    for name, limit in model.get_config()["form"]["levels"].items():
        assert np.abs(after.initializers[name].const_value.numpy()).max() <= limit
    with pytest.raises(DataError, match="is not quantized yet"):
        QuantizedModel(digits_onnx)


@pytest.fixture(scope="module")
def pruned(digits: Digits, digits_model: Any) -> PrunedModel:
    return PrunedModel(digits_model, digits[0], flops=0.4)


def test_what_pruning_left_is_trained(
    keras: Any, digits: Digits, digits_model: Any, pruned: PrunedModel
) -> None:
    train, test = digits
    assert sum(np.size(one) for one in pruned.get_weights()) < 0.7 * digits_model.count_params()
    before = _accuracy(_compiled(keras, pruned), test)
    _fit(pruned, train)
    assert _accuracy(pruned, test) >= before


@pytest.mark.slow
def test_what_pruning_left_composes(
    keras: Any, digits: Digits, pruned: PrunedModel, tmp_path: Path
) -> None:
    train, test = digits
    for place, model in enumerate(
        (SharedModel(pruned, clusters=16), QuantizedModel(pruned, train))
    ):
        _fit(_compiled(keras, model), train, 1)
        folder = tmp_path / str(place)
        folder.mkdir()
        _check_files(keras, model, test["image"], folder)
    with pytest.raises(ModelError, match="is quantized already"):
        PrunedModel(model, train, flops=0.5)


def test_shared_weights_hold_few_values_that_are_trained(
    keras: Any, digits: Digits, digits_onnx: Path, tmp_path: Path
) -> None:
    model = SharedModel(digits_onnx, clusters=8)
    start = {name: one.numpy() for name, one in dict(model._variables_by_name).items()}
    _fit(_compiled(keras, model), digits[0], 1)
    _check_files(keras, model, digits[1]["image"], tmp_path)
    size = digits_onnx.stat().st_size
    assert (tmp_path / "model.onnx").stat().st_size < 0.5 * size  # 4 bits a weight, not 32
    shared = [name.removesuffix(" (codebook)") for name in start if name.endswith("(codebook)")]
    assert len(shared) == 5
    graph = model.graph().graph
    for name in shared:
        assert len(np.unique(graph.initializers[name].const_value.numpy())) <= 8
        codebook = dict(model._variables_by_name)[f"{name} (codebook)"].numpy()
        assert np.any(codebook != start[f"{name} (codebook)"])
        places = dict(model._variables_by_name)[f"{name} (assignments)"].numpy()
        np.testing.assert_array_equal(places, start[f"{name} (assignments)"])


def test_models_with_a_common_backbone_become_one(
    keras: Any, digits_model: Any, tmp_path: Path
) -> None:
    backbone = digits_model.layers[-2].output
    head = keras.layers.Dense(2, name="parity")(backbone)
    other = keras.Model(digits_model.input, head, name="parity_of_digits")
    joined = SharedModel([digits_model, other])
    assert joined.count_params() < digits_model.count_params() + 200
    image = np.random.default_rng(2).random((4, 16, 16, 1)).astype(np.float32)
    found = joined.predict(image, verbose=0)
    np.testing.assert_allclose(found["digit"], digits_model.predict(image, verbose=0), atol=1e-4)
    np.testing.assert_allclose(found["parity"], other.predict(image, verbose=0), atol=1e-4)
    joined.to_onnx(tmp_path / "both.onnx")
    with OrtRuntime(tmp_path / "both.onnx", threads=1) as runtime:
        assert {output.name for output in runtime.outputs} == {"digit", "parity"}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path, data: QuantizedModel(path, data, weight_bits=9), "from 2 to 8"),
        (PrunedModel, "by flops or by params"),
        (lambda path, data: PrunedModel(path, data, flops=2.0), "between 0 and 1"),
        (lambda path, data: PrunedModel(path, data, flops=1e-5), "can be pruned to"),
        (lambda path, data: SharedModel(path, clusters=1), "from 2 to 256"),
        (lambda path, data: SharedModel([]), "no models"),
        (lambda path, data: QuantizedModel(path, {"image": data["image"][:, :8]}), "image"),
    ],
)
def test_what_cannot_be_is_told(digits: Digits, digits_onnx: Path, make: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        make(digits_onnx, digits[0])
