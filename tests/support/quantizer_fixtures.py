"""Graphs written as ONNX text, data made of arrays, and ONNX Runtime as the judge of both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from runtimes import Dataset
from runtimes.engines.ort import OrtRuntime
from runtimes.onnx_files.load_save import model_inputs

Array = np.ndarray[Any, np.dtype[Any]]
Weights = dict[str, Array]


def _graph(text: str, weights: Weights | None = None, opset: int = 18) -> ir.Model:
    header = f'<ir_version: 8, opset_import: ["": {opset}]>'
    model = ir.from_proto(onnx.parser.parse_model(header + text))
    for name, array in (weights or {}).items():
        tensor = ir.tensor(array, name=name)
        value = ir.Value(
            name=name,
            type=ir.TensorType(tensor.dtype),
            shape=ir.Shape(array.shape),
            const_value=tensor,
        )
        for node in model.graph.all_nodes():
            for index, used in enumerate(node.inputs):
                if used is not None and used.name == name:
                    node.replace_input_with(index, value)
        model.graph.inputs[:] = [v for v in model.graph.inputs if v.name != name]
        model.graph.register_initializer(value)
    return model


@pytest.fixture
def graph() -> Callable[..., ir.Model]:
    """A model from the text of its graph; ``weights`` take the place of inputs of that name."""
    return _graph


@pytest.fixture
def run() -> Callable[..., Array]:
    """The first output of a model (or the one called ``output``) for arrays by input name."""

    def first(model: ir.Model, output: str | None = None, **feed: Array) -> Array:
        with OrtRuntime(model, threads=1) as runtime:
            return runtime.run(feed)[output or runtime.outputs[0].name]

    return first


@pytest.fixture
def bound() -> Callable[..., Dataset]:
    """Data made of arrays, bound to a model's inputs."""

    def bind(model: ir.Model, **arrays: Array) -> Dataset:
        return Dataset.open(arrays, inputs=model_inputs(model))

    return bind


@pytest.fixture
def images() -> Array:
    """Sixty-four small images ``[64, 3, 12, 12]`` with values around zero."""
    rng = np.random.default_rng(7)
    smooth = rng.normal(size=(64, 3, 4, 4)).repeat(3, axis=2).repeat(3, axis=3)
    return (smooth + 0.2 * rng.normal(size=(64, 3, 12, 12))).astype(np.float32)


def _weights(seed: int = 0) -> Weights:
    rng = np.random.default_rng(seed)

    def tensor(*shape: int, scale: float = 0.3) -> Array:
        return (scale * rng.normal(size=shape)).astype(np.float32)

    return {
        "w1": tensor(8, 3, 3, 3),
        "b1": tensor(8),
        "w2": tensor(8, 1, 3, 3),
        "b2": tensor(8),
        "w3": tensor(8, 8, 1, 1),
        "b3": tensor(8),
        "w4": tensor(8, 5),
        "b4": tensor(5),
    }


RESIDUAL = """
    residual (float[batch, 3, 12, 12] image, float[8, 3, 3, 3] w1, float[8] b1,
              float[8, 1, 3, 3] w2, float[8] b2, float[8, 8, 1, 1] w3, float[8] b3,
              float[8, 5] w4, float[5] b4) => (float[batch, 5] logits)
    <float low = {0}, float six = {6}>
    {
        [first] c1 = Conv <pads = [1, 1, 1, 1]> (image, w1, b1)
        [first_relu] r1 = Relu (c1)
        [depthwise] c2 = Conv <pads = [1, 1, 1, 1], group = 8> (r1, w2, b2)
        [depthwise_relu6] r2 = Clip (c2, low, six)
        [project] c3 = Conv (r2, w3, b3)
        [residual] sum = Add (r1, c3)
        [pool] pooled = GlobalAveragePool (sum)
        [flatten] flat = Flatten (pooled)
        [dense] logits = Gemm (flat, w4, b4)
    }
"""


@pytest.fixture
def residual_model() -> ir.Model:
    """Conv, depthwise Conv with ReLU6, residual addition, pooling and a dense layer."""
    return _graph(RESIDUAL, _weights())


@pytest.fixture
def sqnr() -> Callable[[Array, Array], float]:
    """Signal to quantization noise of a result against the reference, dB."""

    def decibels(reference: Array, found: Array) -> float:
        noise = np.square(reference.astype(np.float64) - found).sum()
        return float(10 * np.log10(np.square(reference.astype(np.float64)).sum() / noise))

    return decibels
