"""Code in a configuration: found wherever it is, described, and replaced by the user's own."""

from __future__ import annotations

import base64
import marshal
from typing import Any

import pytest

from runtimes.keras_models.embedded_code import bytecode, code_in, with_own_functions


def dumped(function: Any) -> str:
    """As Keras writes a function."""
    return base64.encodebytes(marshal.dumps(function.__code__)).decode("ascii")


def lambda_layer(function: Any, **options: Any) -> dict[str, Any]:
    return {"class_name": "Lambda", "config": {"name": "scale", "function": function, **options}}


CODE = dumped(lambda x: x * 2)


@pytest.mark.parametrize(
    "config",
    [
        lambda_layer([CODE, None, None]),
        lambda_layer([CODE, [1, 2], None], function_type="lambda"),
        lambda_layer({"class_name": "__lambda__", "config": {"code": CODE, "defaults": None}}),
        lambda_layer("named", output_shape=[CODE, None, None]),
        lambda_layer("named", mask={"class_name": "__lambda__", "config": {"code": CODE}}),
    ],
)
def test_lambda_layers(config: dict[str, Any]) -> None:
    nested = {"class_name": "Functional", "config": {"name": "model", "layers": [config]}}
    (found,) = code_in(nested)
    assert found.startswith("the Lambda layer 'scale' (the bytecode of a Python function")


@pytest.mark.parametrize(
    "activation",
    [
        {"value": [CODE, None, None]},
        {"class_name": "__lambda__", "config": {"value": [CODE, None, None]}},
        {"class_name": "__lambda__", "config": {"value": "unheard of"}},
    ],
)
def test_activations(activation: Any) -> None:
    inner = {"class_name": "Dense", "config": {"name": "inner", "activation": activation}}
    outer = {"class_name": "TimeDistributed", "config": {"name": "outer", "layer": inner}}
    (found,) = code_in([outer])
    assert found.startswith("the layer 'inner' (the bytecode")


def test_what_the_function_names_is_said() -> None:
    def harmful(x: Any) -> Any:
        import os

        os.system("true")
        return x

    (found,) = code_in(lambda_layer([dumped(harmful), None, None]))
    assert "os" in found
    assert "system" in found


def test_programs_and_pickles() -> None:
    config = [
        {"class_name": "TFSMLayer", "config": {"name": "saved", "filepath": "/models/a"}},
        {"class_name": "TorchModuleWrapper", "config": {"name": "torch"}},
    ]
    assert list(code_in(config)) == [
        "the TFSMLayer 'saved' (the program of the SavedModel '/models/a')",
        "the TorchModuleWrapper 'torch' (a pickled PyTorch module)",
    ]


def test_what_is_no_code() -> None:
    config = {
        "class_name": "Sequential",
        "config": {
            "name": "model",
            "layers": [
                lambda_layer("named"),
                lambda_layer({"class_name": "function", "config": "relu"}),
                {"class_name": "Dense", "config": {"name": "4wish", "activation": "relu"}},
                {"class_name": "Reshape", "config": {"name": "r", "target_shape": [1, 2, 3]}},
                {
                    "class_name": "StringLookup",
                    "config": {"name": "s", "vocabulary": ["4w", "a", "b"]},
                },
            ],
        },
    }
    assert list(code_in(config)) == []
    assert bytecode(None) is bytecode([]) is bytecode({}) is None


def test_a_function_of_the_users_takes_the_place() -> None:
    config = {"class_name": "Sequential", "config": {"layers": [lambda_layer([CODE, None, None])]}}
    same, changed = with_own_functions(config, {"other": abs})
    assert (same, changed) == (config, False)
    replaced, changed = with_own_functions(config, {"scale": abs})
    assert changed
    assert list(code_in(replaced)) == []
    assert replaced["config"]["layers"][0]["config"]["function"]["config"] == "scale"


def test_a_class_of_that_name_does_not() -> None:
    config = lambda_layer([CODE, None, None])
    assert with_own_functions(config, {"scale": int}) == (config, False)
