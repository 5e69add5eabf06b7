"""The examples in the docstrings of public functions run, and give what they say."""

from __future__ import annotations

import doctest
import inspect
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

import converter
import quantizers
import runtimes

PACKAGES = (converter, quantizers, runtimes)
# Subclasses of keras.Model: to ask for one loads Keras.
KERAS_MODELS = ("GraphModel", "PrunedModel", "QuantizedModel", "SharedModel")
NAMES = {
    name: getattr(package, name)
    for package in PACKAGES
    for name in package.__all__
    if name not in KERAS_MODELS
}


def functions() -> list[str]:
    return [
        name
        for name, value in NAMES.items()
        if inspect.isfunction(value) and ">>>" in (value.__doc__ or "")
    ]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the examples open, and the working directory."""
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=shape).astype(np.float32) for shape in ((4, 8), (8, 3))]
    x = ir.val("x", ir.DataType.FLOAT, ["N", 4])
    tensors = [
        ir.val(name, ir.DataType.FLOAT, array.shape, const_value=ir.tensor(array, name=name))
        for name, array in zip("ab", weights, strict=True)
    ]
    nodes = [ir.node("MatMul", [x, tensors[0]], name="first")]
    nodes.append(ir.node("Relu", [nodes[0].outputs[0]], name="relu"))
    nodes.append(ir.node("MatMul", [nodes[1].outputs[0], tensors[1]], name="second"))
    y = nodes[-1].outputs[0]
    y.name, y.type, y.shape = "scores", x.type, ir.Shape(["N", 3])
    graph = ir.Graph(
        [x], [y], nodes=nodes, initializers=tensors, opset_imports={"": 18}, name="model"
    )
    ir.save(ir.Model(graph, ir_version=10), tmp_path / "model.onnx")
    samples = rng.normal(size=(64, 4)).astype(np.float32)
    labels = (np.maximum(samples @ weights[0], 0) @ weights[1]).argmax(axis=1)
    np.savez(tmp_path / "samples.npz", x=samples, labels=labels)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", functions())
def test_an_example_gives_what_it_says(name: str, folder: Path, request: Any) -> None:
    if name == "convert":
        keras = request.getfixturevalue("keras")
        inputs = keras.Input((4,), name="x")
        keras.Model(inputs, keras.layers.Dense(3, name="scores")(inputs)).save("model.keras")
    _run_example(name, NAMES[name])


@pytest.mark.parametrize("name", KERAS_MODELS)
def test_an_example_of_a_keras_model_gives_what_it_says(
    name: str, folder: Path, keras: Any
) -> None:
    assert ">>>" in getattr(quantizers, name).__doc__
    _run_example(name, getattr(quantizers, name))


def _run_example(name: str, documented: Any) -> None:
    known = {**NAMES, "np": np, name: documented}
    test = doctest.DocTestParser().get_doctest(documented.__doc__, known, name, None, None)
    found: list[str] = []
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    runner.run(test, out=found.append)
    assert not found, "".join(found)
