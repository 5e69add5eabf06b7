"""INT8 for TensorRT: the form that its explicit quantization takes. It is not run here."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from quantizers.options import QuantizeOptions
from quantizers.static import quantize_model
from runtimes.base import Array
from runtimes.onnx_graph.values import constant, is_op
from runtimes.targets import find_target

SHAPES = {"w1": (8, 3, 3, 3), "b1": (8,), "w2": (8, 8, 3, 3), "v": (512, 5), "b2": (5,)}
TEXT = """g (float[N, 3, 16, 16] x, GIVEN) => (float[N, 5] y) {
    [one] a = Conv <pads = [1, 1, 1, 1]> (x, w1, b1)
    [relu] p = Relu (a)
    [two] b = Conv <pads = [1, 1, 1, 1]> (p, w2)
    [sum] s = Add (b, p)
    [pool] m = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (s)
    [flat] f = Flatten (m)
    [dense] z = MatMul (f, v)
    [bias] y = Add (z, b2) }"""


@pytest.fixture
def network(graph: Any) -> ir.Model:
    """Two convolutions with a ReLU and a residual sum, a pool, and a head with a bias."""
    rng = np.random.default_rng(0)
    floats = {
        name: (0.2 * rng.standard_normal(shape)).astype(np.float32)
        for name, shape in SHAPES.items()
    }
    given = ", ".join(
        f"float[{','.join(map(str, array.shape))}] {name}" for name, array in floats.items()
    )
    made: ir.Model = graph(TEXT.replace("GIVEN", given), floats)
    return made


@pytest.fixture
def samples() -> Array:
    return np.random.default_rng(1).standard_normal((64, 3, 16, 16)).astype(np.float32)


def in_int8(network: ir.Model, samples: Array, bound: Any) -> ir.Model:
    form = find_target("tensorrt").int8
    assert form is not None
    made, report = quantize_model(
        network, bound(network, x=samples), options=QuantizeOptions(form=form)
    )
    assert {one.precision for one in report.operators} == {"int8"}
    return made


def test_all_bytes_are_signed_around_zero(network: ir.Model, samples: Array, bound: Any) -> None:
    made = in_int8(network, samples, bound)
    pairs = [one for one in made.graph if is_op(one, "QuantizeLinear", "DequantizeLinear")]
    assert sum(one.op_type == "QuantizeLinear" for one in pairs) >= 4
    for one in pairs:
        zero = constant(one.inputs[2]) if len(one.inputs) > 2 else None
        if one.op_type == "QuantizeLinear":
            assert zero is not None
        if zero is not None:
            assert zero.dtype == np.int8
            assert not zero.any()
        scale = constant(one.inputs[1])
        assert scale is not None
        codes = constant(one.inputs[0])
        if codes is None:
            assert scale.ndim == 0  # one scale for activations
        else:
            assert codes.dtype == np.int8
            axis = one.attributes.get_int("axis", 1)
            assert scale.shape == (codes.shape[axis],)


def test_biases_stay_float_and_nothing_is_fused_or_moved_as_bytes(
    network: ir.Model, samples: Array, bound: Any
) -> None:
    made = in_int8(network, samples, bound)
    kinds = [node.op_type for node in made.graph]
    assert "Relu" in kinds  # a grid around zero does not clip
    convolutions = [node for node in made.graph if node.op_type == "Conv"]
    biases = [node.inputs[2] for node in convolutions if len(node.inputs) > 2]
    assert biases
    arrays = [constant(bias) for bias in biases]
    assert {array.dtype for array in arrays if array is not None} == {np.dtype(np.float32)}
    kept = {one.dtype for one in made.graph.initializers.values()}
    assert ir.DataType.INT32 not in kept
    assert ir.DataType.UINT8 not in kept
    onnx.checker.check_model(ir.to_proto(made), full_check=True)


def test_onnx_runtime_computes_it_near_the_float_model(
    network: ir.Model, samples: Array, bound: Any, run: Callable[..., Array]
) -> None:
    wanted = run(network, x=samples).astype(np.float64)
    noise = wanted - run(in_int8(network, samples, bound), x=samples)
    assert 10 * np.log10(np.square(wanted).sum() / np.square(noise).sum()) > 25
