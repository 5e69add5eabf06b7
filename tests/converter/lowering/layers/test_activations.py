"""PReLU is one operator, and GELU becomes one in ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest


def features(*shape: int) -> list[list[Any]]:
    rng = np.random.default_rng(0)
    return [[rng.normal(0.0, 3.0, (batch, *shape)).astype(np.float32)] for batch in (1, 3)]


@pytest.mark.parametrize(("approximate", "count"), [(False, 5), (True, 8)])
def test_gelu(keras: Any, parity: Any, approximate: bool, count: int) -> None:
    tensor = keras.Input((4, 8))
    output = keras.ops.gelu(tensor, approximate=approximate)
    operators = parity(keras.Model(tensor, output), features(4, 8))
    assert operators.total() == count
    assert operators["Erf"] == (0 if approximate else 1)


@pytest.mark.parametrize("approximate", [False, True])
def test_gelu_is_one_operator_from_opset_20(keras: Any, parity: Any, approximate: bool) -> None:
    tensor = keras.Input((4, 8))
    hidden = keras.ops.gelu(keras.layers.Dense(6)(tensor), approximate=approximate)
    model = keras.Model(tensor, keras.layers.Dense(5)(hidden))
    counts = parity(model, features(4, 8), opset=20)
    assert counts == {"MatMul": 2, "Add": 2, "Gelu": 1}


def test_onnx_runtime_fuses_gelu(keras: Any, tmp_path: Path) -> None:
    from converter.export.export import export

    tensor = keras.Input((4, 8))
    hidden = keras.ops.gelu(keras.layers.Dense(6, use_bias=False)(tensor), approximate=False)
    exported = export(keras.Model(tensor, keras.layers.Dense(5, use_bias=False)(hidden)))
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(
        ir.to_proto(exported).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    optimized = ir.load(tmp_path / "optimized.onnx")
    assert [node.op_type for node in optimized.graph] == ["MatMul", "Gelu", "MatMul"]


@pytest.mark.parametrize("shared", [None, [1, 2]])
def test_prelu(keras: Any, parity: Any, shared: Any) -> None:
    tensor = keras.Input((4, 5, 3))
    model = keras.Model(tensor, keras.layers.PReLU(shared_axes=shared)(tensor))
    assert parity(model, features(4, 5, 3)) == {"PRelu": 1}


def test_prelu_of_dynamic_size(keras: Any, parity: Any) -> None:
    tensor = keras.Input((None, None, 3))
    model = keras.Model(tensor, keras.layers.PReLU(shared_axes=[1, 2])(tensor))
    assert parity(model, [*features(4, 5, 3), *features(2, 2, 3)]) == {"PRelu": 1}


@pytest.mark.parametrize(
    ("name", "options", "operator"),
    [
        ("hard_sigmoid", {}, "HardSigmoid"),
        ("hard_silu", {}, "HardSwish"),
        ("elu", {"alpha": 0.5}, "Elu"),
        ("celu", {"alpha": 0.5}, "Celu"),
    ],
)
def test_functions_that_are_operators(
    keras: Any, parity: Any, name: str, options: Any, operator: str
) -> None:
    function = getattr(keras.activations, name)
    tensor = keras.Input((4, 8))
    layer = keras.layers.Activation(lambda x: function(x, **options))
    assert parity(keras.Model(tensor, layer(tensor)), features(4, 8)) == {operator: 1}


def test_hard_silu_of_old_opsets(keras: Any, parity: Any) -> None:
    tensor = keras.Input((4, 8))
    model = keras.Model(tensor, keras.layers.Activation("hard_silu")(tensor))
    assert parity(model, features(4, 8), opset=13) == {"HardSigmoid": 1, "Mul": 1}


def test_half_precision_keeps_keras_own_formula(keras: Any, parity: Any) -> None:
    tensor = keras.Input((4, 8))
    layer = keras.layers.Activation("hard_sigmoid", dtype="float16")
    operators = parity(keras.Model(tensor, layer(tensor)), features(4, 8), tolerance=1e-3)
    assert "HardSigmoid" not in operators
