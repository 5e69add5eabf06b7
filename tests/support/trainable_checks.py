"""A node of the training graph against ONNX Runtime, and its gradients against differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from trainable_cases.case import Array, Case

from quantizers.training.graph import TrainableGraph
from runtimes.engines.ort import OrtRuntime
from runtimes.engines.reference import ReferenceRuntime

# A network of nothing else has no parameters, and is none to train.
_TRAINED = "trained"
_STEP = 1e-6


def model_of(case: Case, *, last_only: bool = False) -> ir.Model:
    """The node of ``case``, its outputs called y0, y1, ...

    Where its first input may come with the channels last, there is a second such node behind a
    convolution by the identity, which has them last; its outputs are called z0, z1, ...
    ``last_only`` leaves out the first node then.
    """
    values = [
        None if array is None else _value(place, array, fed=place not in case.initializers)
        for place, array in enumerate(case.arrays)
    ]
    fed = [value for value in values if value is not None and value.const_value is None]
    constants = [value for value in values if value is not None and value.const_value is not None]
    nodes = []
    if not (last_only and has_orders(case)):
        nodes.append(_node(case, values, "y"))
    if has_orders(case):
        before, kernel = _identity(values[0], case.arrays[0])
        nodes += [before, _node(case, [before.outputs[0], *values[1:]], "z")]
        constants.append(kernel)
    outputs = [value for node in nodes if node.name != "before" for value in node.outputs]
    weight = _constant(_TRAINED, np.ones(2, np.float32))
    nodes.append(ir.Node("", "Add", [weight, weight], outputs=[ir.Value(name="other")]))
    graph = ir.Graph(
        fed,
        [*outputs, nodes[-1].outputs[0]],
        nodes=nodes,
        initializers=[*constants, weight],
        opset_imports={"": case.opset, **({case.domain: 1} if case.domain else {})},
        name="one_node",
    )
    return ir.Model(graph, ir_version=10)


def _node(case: Case, read: Sequence[ir.Value | None], prefix: str) -> ir.Node:
    outputs = [ir.Value(name=f"{prefix}{place}") for place in range(case.outputs)]
    attributes = ir.convenience.convert_attributes(_attributes(case))
    name = f"node_{prefix}"
    return ir.Node(case.domain, case.op_type, read, attributes, outputs=outputs, name=name)


def feed_of(case: Case) -> dict[str, Array]:
    """What is fed, by name."""
    return {
        f"i{place}": array
        for place, array in enumerate(case.arrays)
        if array is not None and place not in case.initializers
    }


def has_orders(case: Case) -> bool:
    """Whether the first input can come with its channels last."""
    first = case.arrays[0] if case.arrays else None
    return (
        case.orders
        and first is not None
        and first.dtype == np.float32
        and 3 <= first.ndim <= 5
        and 0 not in case.initializers
    )


def sampled(cases: Sequence[Case], most: int) -> list[Any]:
    """The cases as parameters of a test; of each operator all but ``most`` are slow tests.

    Those that stay are spread over all that there are.
    """
    by_operator: dict[str, list[Case]] = {}
    for case in cases:
        by_operator.setdefault(case.op_type, []).append(case)
    found = []
    for several in by_operator.values():
        step = max(1, -(-len(several) // most))
        found += [
            case if place % step == 0 else pytest.param(case, marks=pytest.mark.slow)
            for place, case in enumerate(several)
        ]
    return found


def check_values(case: Case) -> None:
    """The values of every output are those of ONNX Runtime, in both orders of axes."""
    model = model_of(case)
    expected, found = _expected(case, model), values_of(model, feed_of(case))
    for name, wanted in expected.items():
        assert_close(found[name], wanted, case.tolerance)


def check_gradients(case: Case) -> None:
    """The gradients by every input of floats are those of central differences in float64."""
    compare_gradients(model_of(case, last_only=True), feed_of(case))


def compare_gradients(model: ir.Model, feed: Mapping[str, Array]) -> None:
    """The slope of a random sum of the outputs along a random direction of all inputs."""
    import tensorflow as tf

    graph = TrainableGraph(model, dtype="float64")
    values = graph.initial()
    wide = {n: a.astype(np.float64) if a.dtype.kind == "f" else a for n, a in feed.items()}
    inputs = {name: tf.constant(array) for name, array in wide.items() if array.dtype.kind == "f"}
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        loss = _loss(graph.run(values, {**wide, **inputs}))
    gradients = tape.gradient(loss, inputs, unconnected_gradients="zero")
    rng = np.random.default_rng(3)
    directions = {name: rng.normal(size=wide[name].shape) for name in inputs}
    ends = []
    for sign in (1, -1):
        moved = {name: wide[name] + sign * _STEP * along for name, along in directions.items()}
        ends.append(float(_loss(graph.run(values, {**wide, **moved}))))
    parts = [
        np.asarray(tf.convert_to_tensor(gradients[name])) * along
        for name, along in directions.items()
    ]
    expected = (ends[0] - ends[1]) / (2 * _STEP)
    size = sum(float(np.abs(part).sum()) for part in parts)
    assert abs(expected - sum(float(part.sum()) for part in parts)) <= 1e-6 * (size + 1e-3)


def values_of(model: ir.Model, feed: Mapping[str, Array]) -> dict[str, Array]:
    """What the training graph computes from the values that the model has."""
    graph = TrainableGraph(model)
    found = graph.run(graph.initial(), feed)
    return {name: np.asarray(value) for name, value in found.items()}


def assert_close(found: Array, wanted: Array, tolerance: float) -> None:
    """Same shape and kind; floats differ by ``tolerance`` of the largest at most."""
    assert found.shape == wanted.shape
    if wanted.dtype.kind != "f":
        np.testing.assert_array_equal(found, wanted)
        return
    finite = np.abs(wanted[np.isfinite(wanted)])
    largest = max(float(finite.max(initial=0)), 1e-3)
    np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance * largest)


def _attributes(case: Case) -> dict[str, Any]:
    arrays = {n: ir.tensor(a) for n, a in case.attributes.items() if isinstance(a, np.ndarray)}
    return {**case.attributes, **arrays}


def _loss(found: Mapping[str, Any]) -> Any:
    import tensorflow as tf

    total = tf.constant(0.0, tf.float64)
    for place, (name, value) in enumerate(sorted(found.items())):
        if name != "other" and value.dtype == tf.float64:
            factors = np.random.default_rng([place, 5]).normal(size=value.shape)
            total += tf.reduce_sum(value * factors)
    return total


def _expected(case: Case, model: ir.Model) -> dict[str, Array]:
    if case.judge == "reference":
        with ReferenceRuntime(model) as runtime:
            return runtime.run(feed_of(case))
    with OrtRuntime(model, threads=1, optimization="disabled") as runtime:
        return runtime.run(feed_of(case))


def _identity(value: ir.Value | None, array: Array | None) -> tuple[ir.Node, ir.Value]:
    assert value is not None
    assert array is not None
    channels = array.shape[1]
    sizes = [channels, channels, *[1] * (array.ndim - 2)]
    kernel = np.eye(channels, dtype=np.float32).reshape(sizes)
    weight = _constant("identity", kernel)
    moved = ir.Value(name="moved")
    return ir.Node("", "Conv", [value, weight], outputs=[moved], name="before"), weight


def _value(place: int, array: Array, *, fed: bool) -> ir.Value:
    if not fed:
        return _constant(f"c{place}", array)
    kind = ir.TensorType(ir.DataType.from_numpy(np.asarray(array).dtype))
    return ir.Value(name=f"i{place}", type=kind, shape=ir.Shape(np.shape(array)))


def _constant(name: str, array: Array) -> ir.Value:
    tensor = ir.tensor(array, name=name)
    return ir.Value(
        name=name,
        type=ir.TensorType(tensor.dtype),
        shape=ir.Shape(np.shape(array)),
        const_value=tensor,
    )
