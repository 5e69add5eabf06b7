"""The proof of an export: strict where rounding is small, fair where the model amplifies it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import numpy_helper

from converter import convert
from converter.expectations import expectations
from converter.verify import prove
from runtimes.errors import ConversionError
from runtimes.keras_signature import keras_signature


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
    with pytest.raises(ConversionError, match="is not the Keras model"):
        prove(path, amplifier, signature, ["out"], expectations(amplifier, signature))
