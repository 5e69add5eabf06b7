"""A defect of kilnx is never told as a fault of the model, and the other way round."""

from __future__ import annotations

from typing import Any

import pytest

from converter.export.export import export
from converter.lowering import markers
from converter.lowering.operators import elementwise
from runtimes.errors import ConversionError


@pytest.fixture
def model(keras: Any) -> Any:
    x = keras.Input((4,))
    y = keras.layers.Dense(3, activation="gelu")(x)
    y = keras.ops.expm1(y)
    return keras.Model(x, keras.layers.LayerNormalization()(y))


def broken(*_arguments: Any, **_options: Any) -> Any:
    raise ZeroDivisionError("a defect")


def test_a_lowering_that_fails_is_a_defect(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elementwise, "expm1", broken)
    with pytest.raises(ZeroDivisionError, match="a defect"):
        export(model)


def test_a_lowering_of_a_layer_that_fails_is_a_defect(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("converter.lowering.builder.Builder.replace", broken)
    with pytest.raises(ZeroDivisionError, match="a defect"):
        export(model)


def test_a_marker_that_fails_is_a_defect(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(markers, "_PREFIX", None)
    with pytest.raises(TypeError):
        export(model)


def test_what_tf2onnx_cannot_do_is_an_error_for_the_user(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tf2onnx.tfonnx.topological_sort", broken)
    with pytest.raises(ConversionError, match="could not be converted: ZeroDivisionError") as error:
        export(model)
    assert isinstance(error.value.__cause__, ZeroDivisionError)


def test_a_model_that_fails_in_a_graph_is_the_users(keras: Any) -> None:
    class Eager(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return x * float(keras.ops.convert_to_numpy(x).mean())

        def compute_output_spec(self, x: Any) -> Any:
            return keras.KerasTensor(x.shape, x.dtype)

    x = keras.Input((4,))
    with pytest.raises(ConversionError, match="cannot be called on"):
        export(keras.Model(x, Eager()(x)))


def test_a_refusal_while_tracing_stays_one(keras: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from runtimes.errors import UnsupportedOperator

    def refusing(*_arguments: Any) -> Any:
        raise UnsupportedOperator("the layer 'x' …")

    monkeypatch.setattr("runtimes.keras_models.signature.KerasSignature.call", refusing)
    with pytest.raises(UnsupportedOperator, match="the layer 'x'"):
        export(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]))
