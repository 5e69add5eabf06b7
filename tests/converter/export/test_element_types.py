"""Dtype policies: the interface keeps its types, and what no runtime can do is named."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from converter import convert
from runtimes import open_runtime
from runtimes.errors import ConversionError, UnsupportedOperator

TYPE = {name: getattr(onnx.TensorProto, name.upper()) for name in ("float", "float16", "bfloat16")}


@pytest.fixture
def network(keras: Any) -> Any:
    """A builder of a small network under a global policy, which is put back afterwards."""
    before = keras.config.dtype_policy()

    def build(policy: str) -> Any:
        keras.config.set_dtype_policy(policy)
        keras.utils.set_random_seed(0)
        inputs = keras.Input((12, 12, 3), name="x")
        x = keras.layers.Conv2D(8, 3)(inputs)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
        x = keras.layers.Flatten()(x)
        x = keras.layers.Dense(200, activation="relu")(x)
        return keras.Model(inputs, keras.layers.Dense(4, name="y")(x))

    yield build
    keras.config.set_dtype_policy(before)


@pytest.mark.parametrize(
    ("policy", "inputs", "outputs"),
    [
        ("float32", "float", "float"),
        ("mixed_float16", "float", "float16"),
        ("mixed_bfloat16", "float", "float"),  # numpy could not read bfloat16
        ("bfloat16", "float", "float"),
    ],
)
def test_the_interface_keeps_its_types(
    policy: str, inputs: str, outputs: str, network: Any, tmp_path: Path
) -> None:
    report = convert(network(policy), tmp_path / "m.onnx")
    graph = onnx.load(tmp_path / "m.onnx").graph
    assert [v.type.tensor_type.elem_type for v in graph.input] == [TYPE[inputs]]
    assert [v.type.tensor_type.elem_type for v in graph.output] == [TYPE[outputs]]
    assert [v.name for v in graph.output] == ["y"]
    assert any("bfloat16" in note for note in report.notes) == ("bfloat16" in policy)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "bfloat16"])
def test_bfloat16_is_proven_in_float32(policy: str, network: Any, tmp_path: Path) -> None:
    """How bfloat16 is rounded hangs on the CPU; the bound must not."""
    model = network(policy)
    report = convert(model, tmp_path / "m.onnx")
    for proof in report.proofs:
        assert proof.max_abs_error <= proof.allowed
        assert proof.allowed < 1e-3
    images = np.random.default_rng(0).standard_normal((2, 12, 12, 3)).astype(np.float32)
    with open_runtime(tmp_path / "m.onnx") as runtime, open_runtime(model) as keras_runtime:
        found, expected = runtime.run({"x": images})["y"], keras_runtime.run({"x": images})["y"]
    assert found.dtype == expected.dtype == np.float32
    assert not np.array_equal(found, expected)
    np.testing.assert_allclose(found, expected, atol=0.05)


def test_a_bfloat16_input_stays_one(keras: Any, network: Any, tmp_path: Path) -> None:
    network("bfloat16")
    inputs = keras.Input((6,), name="x", dtype="bfloat16")
    model = keras.Model(inputs, keras.layers.Dense(3, name="y")(inputs))
    convert(model, tmp_path / "m.onnx")
    graph = onnx.load(tmp_path / "m.onnx").graph
    assert graph.input[0].type.tensor_type.elem_type == TYPE["bfloat16"]


def test_the_model_is_as_it_was(network: Any, tmp_path: Path) -> None:
    model = network("bfloat16")
    before = [layer.dtype_policy.name for layer in model.layers]
    convert(model, tmp_path / "m.onnx")
    assert [layer.dtype_policy.name for layer in model.layers] == before
    assert model(np.zeros((1, 12, 12, 3))).dtype.name == "bfloat16"


def test_an_element_type_without_kernels_is_named(network: Any, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedOperator, match=r"no kernel.*float32"):
        convert(network("float64"), tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


def test_float8_is_refused_by_name(keras: Any, tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras warns about its own InputLayer
        model.quantize("float8")
    with pytest.raises(ConversionError, match="float8"):
        convert(model, tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []
