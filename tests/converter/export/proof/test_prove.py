"""The proof of an export: strict where rounding is small, fair where the model amplifies it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from converter import convert
from converter.export.proof.expectations import expectations
from converter.export.proof.prove import prove
from runtimes import open_runtime
from runtimes.errors import ConversionError
from runtimes.keras_models.signature import keras_signature


@pytest.fixture
def amplifier(keras: Any) -> Any:
    """Token indices, which can't be moved by a rounding, into a network that blows rounding up."""
    keras.utils.set_random_seed(3)
    tokens = keras.Input((20,), dtype="int32", name="tokens")
    x = keras.layers.Embedding(50, 64)(tokens)
    x = keras.layers.Dense(256)(keras.layers.Flatten()(x))
    x = keras.ops.sin(keras.ops.multiply(x, 3e4))
    return keras.Model(tokens, keras.layers.Dense(4, name="out")(x))


def test_a_model_that_amplifies_rounding_is_judged_by_its_own_noise(
    amplifier: Any, tmp_path: Path
) -> None:
    proofs = convert(amplifier, tmp_path / "model.onnx").proofs
    assert max(proof.max_abs_error for proof in proofs) > 1e-4  # else the case proves nothing
    assert all(proof.max_abs_error <= proof.allowed for proof in proofs)


def test_a_wrong_weight_is_no_rounding(amplifier: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    convert(amplifier, path)
    model = onnx.load(path)
    weight = next(w for w in model.graph.initializer if list(w.dims) == [256, 4])
    values = numpy_helper.to_array(weight).copy()
    values[7, 2] += 0.5
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    onnx.save(model, path)
    signature = keras_signature(amplifier)
    with pytest.raises(ConversionError, match="does not match the Keras model"):
        prove(path, amplifier, signature, ["out"], expectations(amplifier, signature))


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest", "bicubic"])
def test_a_layer_that_is_another_in_a_graph_is_held_against_predict(
    keras: Any, tmp_path: Path, interpolation: str
) -> None:
    """``Resizing`` of uint8 gives uint8 when it is called and float32 in ``predict``."""
    resizing = keras.layers.Resizing(5, 6, interpolation=interpolation)
    model = keras.Sequential([keras.Input((8, 8, 3), dtype="uint8", name="image"), resizing])
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    expected = model.predict(images, verbose=0)
    assert model(images).dtype != expected.dtype  # else the case proves nothing
    convert(model, tmp_path / "model.onnx")
    with open_runtime(tmp_path / "model.onnx") as runtime:
        (found,) = runtime.run({"image": images}).values()
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, atol=2e-2)
