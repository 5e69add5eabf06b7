"""Models of every operator set from 7 to 25: simplified in the forms that theirs has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from ort_versions import ort_reads_opset
from pruning_checks import random_selection, run_model
from random_graphs import Builder
from zeroed_channels import zero_channels

from converter.passes import optimize
from converter.pruning.groups.dependencies import find_dependencies
from converter.pruning.groups.removal import remove_channels

Feed = dict[str, Any]
OPSETS = [7, 8, 9, 10, 11, 12, 13, 15, 17, 18, 19, 20, 21, 22, 23, 24, 25]


def network(opset: int) -> ir.Model:
    """Operators that changed their form, each as ``opset`` writes it."""
    build = Builder(0, opset)
    x = build.input(["N", 3, 8, 8])
    value = build.op("Conv", x, build.weight(8, 3, 3, 3), build.weight(8), pads=[1, 1, 1, 1])
    numbers = [build.positive(8) for _ in range(4)]
    value = build.op("BatchNormalization", value, *numbers, epsilon=1e-3)
    value = enlarged(build, padded(build, dropped(build, clipped(build, value))))
    value = build.op("Conv", value, build.weight(6, 8, 1, 1))
    value = build.op("PRelu", sliced(build, value), build.positive(6, 1, 1))
    value = squeezed(build, averaged(build, value))
    first, second = parted(build, value)
    value = build.op("Concat", second, first, axis=1)
    value = build.op("Add", build.op("MatMul", value, build.weight(6, 10)), build.weight(10))
    model = build.model(build.op("Softmax", value, axis=1))
    model.graph.outputs[0].shape = ir.Shape(["N", 10])
    return model


def opset_of(build: Builder) -> int:
    return int(build.graph.opset_imports[""])


def clipped(build: Builder, value: ir.Value) -> Any:
    if opset_of(build) < 11:
        return build.op("Clip", value, min=0.0, max=6.0)
    return build.op("Clip", value, build.constant(0.0), build.constant(6.0))


def dropped(build: Builder, value: ir.Value) -> Any:
    if opset_of(build) < 12:
        return build.op("Dropout", value, ratio=0.3)
    return build.op("Dropout", value, build.constant(0.3))


def padded(build: Builder, value: ir.Value) -> Any:
    pads = [0, 0, 1, 1, 0, 0, 1, 1]
    if opset_of(build) < 11:
        return build.op("Pad", value, pads=pads, value=0.5)
    return build.op("Pad", value, build.ints(*pads), build.constant(0.5))


def enlarged(build: Builder, value: ir.Value) -> Any:
    scales = [1.0, 1.0, 2.0, 2.0]
    if opset_of(build) < 9:
        return build.op("Upsample", value, mode="nearest", scales=scales)
    if opset_of(build) < 11:
        kind = "Upsample" if opset_of(build) < 10 else "Resize"
        return build.op(kind, value, build.constant(scales), mode="nearest")
    roi = build.constant([]) if opset_of(build) < 13 else None
    return build.op("Resize", value, roi, build.constant(scales), mode="nearest")


def sliced(build: Builder, value: ir.Value) -> Any:
    if opset_of(build) < 10:
        return build.op("Slice", value, starts=[0, 1], ends=[6, 9], axes=[1, 2])
    return build.op("Slice", value, build.ints(0, 1), build.ints(6, 9), build.ints(1, 2))


def averaged(build: Builder, value: ir.Value) -> Any:
    if opset_of(build) < 18:
        return build.op("ReduceMean", value, axes=[2, 3], keepdims=1)
    return build.op("ReduceMean", value, build.ints(2, 3), keepdims=1)


def squeezed(build: Builder, value: ir.Value) -> Any:
    if opset_of(build) < 13:
        return build.op("Squeeze", value, axes=[2, 3])
    return build.op("Squeeze", value, build.ints(2, 3))


def parted(build: Builder, value: ir.Value) -> Any:
    if opset_of(build) < 13:
        return build.op("Split", value, outputs=2, axis=1, split=[2, 4])
    return build.op("Split", value, build.ints(2, 4), outputs=2, axis=1)


@pytest.mark.parametrize("opset", OPSETS)
def test_a_model_of_any_operator_set_is_simplified_and_cut(opset: int) -> None:
    if not ort_reads_opset(opset):
        pytest.skip(f"this ONNX Runtime does not read opset {opset}")
    feed = {"x": np.random.default_rng(1).normal(size=(2, 3, 8, 8)).astype(np.float32)}
    model = network(opset)
    (expected,) = run_model(model, feed)
    count = len(model.graph)
    optimize(model)
    assert len(model.graph) < count
    assert model.opset_imports[""] == opset
    np.testing.assert_allclose(run_model(model, feed)[0], expected, rtol=1e-4, atol=1e-6)
    dependencies = find_dependencies(model)
    kept = random_selection(dependencies, opset)
    cut, zeroed = model.clone(), model.clone()
    remove_channels(cut, dependencies, kept)
    zero_channels(zeroed, dependencies, kept)
    np.testing.assert_allclose(
        run_model(cut, feed)[0], run_model(zeroed, feed)[0], rtol=1e-4, atol=1e-6
    )


def test_initializers_that_had_to_be_inputs_are_constants() -> None:
    """Until IR version 3 every initializer is an input too."""
    proto = ir.to_proto(network(8))
    proto.ir_version = 3
    for tensor in proto.graph.initializer:
        value = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        proto.graph.input.append(value)
    model = optimize(ir.from_proto(proto))
    assert [value.name for value in model.graph.inputs] == ["x"]
    onnx.checker.check_model(ir.to_proto(model), full_check=True)


def test_weights_in_constant_nodes_are_weights(graph: Callable[..., ir.Model]) -> None:
    model = graph(
        "(float[N, 3] x) => (float[N, 2] y)",
        """
        w = Constant <value = float[3, 4] {1,2,3,4,5,6,7,8,9,10,11,12}> ()
        v = Constant <value = float[4, 2] {1,2,3,4,5,6,7,8}> ()
        b = Constant <value_floats = [1.0, 2.0, 3.0, 4.0]> ()
        a = MatMul(x, w) s = Add(a, b) r = Relu(s) y = MatMul(r, v)
        """,
    )
    optimize(model)
    assert {"w", "v", "b"} <= set(model.graph.initializers)
    groups = [group for group in find_dependencies(model).groups if group.is_open]
    assert [len(group.units) for group in groups] == [4]
