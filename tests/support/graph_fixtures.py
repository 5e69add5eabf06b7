"""What the tests of passes share: graphs from text, and results through ORT as the judge."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

Array = np.ndarray[Any, np.dtype[Any]]
DIMENSION = 3


@pytest.fixture(scope="session")
def graph() -> Callable[..., ir.Model]:
    """Model from the body of an ONNX text graph; arrays by name become initializers.

    An array named after an input makes that input one with a default.
    """

    def build(
        signature: str, body: str, opset: int = 18, ir_version: int = 9, **arrays: Any
    ) -> ir.Model:
        text = f'<ir_version: {ir_version}, opset_import: ["" : {opset}]> g {signature} {{{body}}}'
        model = ir.from_onnx_text(text)
        loose = _without_producer(model)
        for name, array in arrays.items():
            # In text, each subgraph that mentions a name has a value of its own for it.
            value, *others = [v for v in loose if v.name == name]
            for other in others:
                other.replace_all_uses_with(value)
            value.const_value = ir.tensor(np.asarray(array), name=name)
            value.type = ir.TensorType(value.const_value.dtype)
            value.shape = ir.Shape(np.shape(array))
            model.graph.register_initializer(value)
        onnx.checker.check_model(ir.to_proto(model))
        return model

    return build


def _without_producer(model: ir.Model) -> list[ir.Value]:
    """Inputs, and what nodes use or the graph gives out without any node defining it."""
    used = [v for node in model.graph.all_nodes() for v in node.inputs if v is not None]
    values = [*model.graph.inputs, *model.graph.outputs, *used]
    return [v for v in dict.fromkeys(values) if v.producer() is None]


@pytest.fixture(scope="session")
def run() -> Callable[..., list[Array]]:
    """Run a model as it stands: ORT with all of its own optimizations off."""

    def call(model: ir.Model, feed: Mapping[str, Array]) -> list[Array]:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        data = ir.to_proto(model).SerializeToString()
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        return session.run(None, dict(feed))

    return call


@pytest.fixture(scope="session")
def random_feed() -> Callable[..., dict[str, Array]]:
    """Random arrays for the inputs of a model; dynamic dimensions become three."""

    def make(model: ir.Model, seed: int = 0) -> dict[str, Array]:
        rng = np.random.default_rng(seed)
        feed = {}
        for value in model.graph.inputs:
            shape = [dim if isinstance(dim, int) else DIMENSION for dim in value.shape]
            dtype = value.dtype.numpy()
            numbers = rng.normal(size=shape) * (1 if dtype.kind == "f" else 4)
            feed[value.name] = np.asarray(numbers, dtype)
        return feed

    return make


@pytest.fixture(scope="session")
def check_pass(run, random_feed) -> Callable[..., Any]:
    """Apply a pass and judge it: same interface, valid model, same results, truthful result.

    Returns the pass result. The tolerance is relative to the largest output.
    """

    def check(
        step: ir.passes.PassBase, model: ir.Model, *, tolerance: float = 1e-5, seed: int = 0
    ) -> Any:
        feed = random_feed(model, seed)
        before = ir.to_proto(model).SerializeToString(deterministic=True)
        names = [[v.name for v in vs] for vs in (model.graph.inputs, model.graph.outputs)]
        want = run(model, feed)
        result = step(model)
        proto = ir.to_proto(model)
        onnx.checker.check_model(proto, full_check=True)
        assert names == [[v.name for v in vs] for vs in (model.graph.inputs, model.graph.outputs)]
        assert result.modified == (proto.SerializeToString(deterministic=True) != before)
        for expected, got in zip(want, run(model, feed), strict=True):
            assert expected.dtype == got.dtype
            if expected.dtype.kind == "f":
                scale = np.abs(expected[np.isfinite(expected)]).max(initial=1e-30)
                np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * scale)
            else:
                np.testing.assert_array_equal(got, expected)
        return result

    return check


@pytest.fixture(scope="session")
def ops() -> Callable[[ir.Model], list[str]]:
    """Operators of the main graph in order."""
    return lambda model: [node.op_type for node in model.graph]
