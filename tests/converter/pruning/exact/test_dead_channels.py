"""Dead and duplicate channels go without a trace; what only looks dead stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pruning_checks import run_model
from random_graphs import image_network

from converter.passes import optimize
from converter.passes.cleanup.clean import Clean
from converter.passes.shapes.infer_shapes import InferShapes
from converter.pruning.exact.dead_channels import Removed, keep_outputs, remove_dead
from examples import examples
from runtimes.errors import ModelError
from runtimes.onnx_files.load_save import weight_bytes

RNG = np.random.default_rng(0)


def normal(*shape: int) -> Any:
    return RNG.normal(size=shape).astype(np.float32)


def shape_of(model: ir.Model, name: str) -> list[int]:
    return list(model.graph.initializers[name].shape)


def check_same(model: ir.Model, changed: ir.Model, *shape: int, tolerance: float = 1e-5) -> None:
    feed = {"x": np.random.default_rng(1).normal(size=shape).astype(np.float32)}
    wanted = run_model(model, feed)
    for got, want in zip(run_model(changed, feed), wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * np.abs(want).max())


@pytest.fixture
def planted(graph: Callable[..., ir.Model]) -> ir.Model:
    """Of 8, 6 and 5 channels two, one and one are dead, one a duplicate; a branch is unused."""
    w1, b1 = normal(8, 3, 3, 3), normal(8)
    w1[1], b1[1] = 0.0, -1.0  # zero weights and a negative bias: Relu gives 0
    w1[4] = w1[2]
    b1[4] = b1[2]
    w2, b2 = normal(6, 8, 3, 3), normal(6)
    w2[5], b2[5] = 0.0, 2.0  # the constant 2, read by a convolution without a border
    w2[:, 6] = 0.0  # nobody reads channel 6
    w3, b3 = normal(5, 6, 1, 1), normal(5)
    w3[0], b3[0] = -np.abs(w3[0]), -0.5  # never above zero behind a Relu: a dead unit
    model = graph(
        "(float[N, 3, 6, 6] x) => (float[N, 2] y, float[N, 5, 6, 6] z)",
        """
        a = Conv <pads = [1, 1, 1, 1]> (x, w1, b1)
        ra = Relu(a)
        b = Conv <pads = [1, 1, 1, 1]> (ra, w2, b2)
        rb = Relu(b)
        c = Conv(rb, w3, b3)
        rc = Relu(c)
        m = GlobalAveragePool(rc)
        f = Flatten(m)
        y = Gemm(f, w4, b4)
        z = Conv(rb, w5)
        """,
        w1=w1,
        b1=b1,
        w2=w2,
        b2=b2,
        w3=w3,
        b3=b3,
        w4=normal(5, 2),
        b4=normal(2),
        w5=normal(5, 6, 1, 1),
    )
    return optimize(model)


def test_a_planted_graph_shrinks_to_what_was_planted(planted: ir.Model) -> None:
    model = planted.clone()
    removed = keep_outputs(model, ["y"])
    removed += remove_dead(model)
    assert [value.name for value in model.graph.outputs] == ["y"]
    weights = [list(v.shape) for v in model.graph.initializers.values() if len(v.shape) == 4]
    assert weights == [[5, 3, 3, 3], [5, 5, 3, 3], [4, 5, 1, 1]]
    assert shape_of(model, "w4") == [4, 2]
    assert {(item.kind, item.channels) for item in removed} == {
        ("output", None),
        ("unused", None),
        ("unread", 1),
        ("constant", 1),
        ("duplicate", 1),
    }
    planted.graph.outputs.pop()
    optimize(planted)
    check_same(planted, model, 2, 3, 6, 6)


def test_what_is_removed_is_named_after_its_keras_layer(planted: ir.Model) -> None:
    for node in planted.graph:
        node.metadata_props["kilnx.layer"] = f"layer_of_{node.outputs[0].name}"
    removed = keep_outputs(planted, ["y"])
    assert removed == (
        Removed("output", ("z",), None),
        Removed("unused", ("layer_of_z",), None),
    )
    layers = {item.layers for item in remove_dead(planted)}
    assert layers == {("layer_of_a",), ("layer_of_b",), ("layer_of_c",)}


def test_all_outputs_stay_where_nothing_else_is_asked_for(planted: ir.Model) -> None:
    model = planted.clone()
    assert remove_dead(model)
    check_same(planted, model, 2, 3, 6, 6)


@pytest.mark.parametrize("names", [["y", "nothing"], []])
def test_an_output_that_is_not_there(planted: ir.Model, names: list[str]) -> None:
    with pytest.raises(ModelError, match="the model has 'y', 'z'"):
        keep_outputs(planted, names)


def constant_channel(graph: Any, value: float, pads: str, activation: str = "Relu") -> ir.Model:
    w1, b1 = normal(4, 3, 1, 1), normal(4)
    w1[2], b1[2] = 0.0, value
    return optimize(
        graph(
            "(float[N, 3, 5, 5] x) => (float[N, 2, m, m] y)",
            f"a = Conv(x, w1, b1) r = {activation}(a) y = Conv <{pads}> (r, w2, b2)",
            w1=w1,
            b1=b1,
            w2=normal(2, 4, 3, 3),
            b2=normal(2),
        )
    )


@pytest.mark.parametrize(
    ("value", "pads", "goes"),
    [
        (0.7, "group = 1", True),
        (-0.7, "group = 1", True),
        (-0.7, "pads = [1, 1, 1, 1]", True),  # zero inside is zero outside
        (0.7, "pads = [1, 1, 1, 1]", False),  # not a constant at the border
    ],
)
def test_constants_move_into_the_next_bias(graph: Any, value: float, pads: str, goes: bool) -> None:
    model = constant_channel(graph, value, pads)
    changed = model.clone()
    assert bool(remove_dead(changed)) == goes
    assert shape_of(changed, "w2") == [2, 3 if goes else 4, 3, 3]
    check_same(model, changed, 2, 3, 5, 5)


def dead_by_range(graph: Any, first: str, bias: float) -> ir.Model:
    """A channel that sums six times at most 6 with weights of −1 … and a bias."""
    w2 = normal(4, 6, 1, 1)
    w2[1] = -1.0
    b2 = normal(4)
    b2[1] = bias
    return optimize(
        graph(
            "(float[N, 3, 5, 5] x) => (float[N, 2, 5, 5] y)",
            f"a = Conv(x, w1) r = {first} b = Conv(r, w2, b2) s = Relu(b) y = Conv(s, w3)",
            w1=normal(6, 3, 1, 1),
            w2=w2,
            b2=b2,
            w3=normal(2, 4, 1, 1),
        )
    )


@pytest.mark.parametrize(
    ("first", "bias", "dead"),
    [
        ("Relu(a)", -0.01, True),
        ("Relu(a)", 0.01, False),
        ("Sigmoid(a)", -0.01, True),
        ("Tanh(a)", -6.1, True),
        ("Tanh(a)", -5.9, False),
        ("LeakyRelu(a)", -100.0, False),
    ],
)
def test_a_unit_is_dead_if_its_bounds_say_so(
    graph: Any, first: str, bias: float, dead: bool
) -> None:
    model = dead_by_range(graph, first, bias)
    changed = model.clone()
    found = remove_dead(changed)
    assert bool(found) == dead
    check_same(model, changed, 2, 3, 5, 5)


def test_a_residual_channel_stays_while_one_branch_is_alive(graph: Any) -> None:
    w2 = normal(4, 4, 1, 1)
    w2[1] = 0.0
    model = optimize(
        graph(
            "(float[N, 3, 5, 5] x) => (float[N, 2, 5, 5] y)",
            "a = Conv(x, w1) b = Conv(a, w2) s = Add(a, b) y = Conv(s, w3)",
            w1=normal(4, 3, 1, 1),
            w2=w2,
            w3=normal(2, 4, 1, 1),
        )
    )
    assert remove_dead(model.clone()) == ()


def test_batch_normalization_with_gamma_zero(graph: Any) -> None:
    gamma = np.ones(4, np.float32)
    gamma[3] = 0.0
    beta = np.full(4, 0.5, np.float32)
    model = optimize(
        graph(
            "(float[N, 3, 5, 5] x) => (float[N, 2, 5, 5] y)",
            """
            a = Conv(x, w1) r = Relu(a)
            n = BatchNormalization(r, gamma, beta, mean, var)
            y = Conv(n, w2, b2)
            """,
            w1=normal(4, 3, 1, 1),
            gamma=gamma,
            beta=beta,
            mean=normal(4),
            var=np.ones(4, np.float32),
            w2=normal(2, 4, 1, 1),
            b2=normal(2),
        )
    )
    changed = model.clone()
    (found,) = remove_dead(changed)
    assert found.channels == 1
    check_same(model, changed, 2, 3, 5, 5)


@pytest.mark.parametrize("flatten", ["Flatten(r)", "Reshape(r, target)"])
def test_duplicates_before_a_flatten(graph: Any, flatten: str) -> None:
    w1 = normal(4, 3, 1, 1)
    w1[3] = w1[0]
    model = optimize(
        graph(
            "(float[N, 3, 2, 2] x) => (float[N, 2] y)",
            f"a = Conv(x, w1) r = Sigmoid(a) f = {flatten} y = MatMul(f, w2)",
            w1=w1,
            w2=normal(16, 2),
            **({"target": np.array([0, 16])} if "target" in flatten else {}),
        )
    )
    changed = model.clone()
    (found,) = remove_dead(changed)
    assert (found.kind, found.channels) == ("duplicate", 1)
    assert shape_of(changed, "w2") == [12, 2]
    check_same(model, changed, 2, 3, 2, 2)


def test_equal_filters_of_different_biases_are_no_duplicates(graph: Any) -> None:
    w1 = normal(4, 3, 1, 1)
    w1[3] = w1[0]
    model = optimize(
        graph(
            "(float[N, 3, 2, 2] x) => (float[N, 2, 2, 2] y)",
            "a = Conv(x, w1, b1) r = Sigmoid(a) y = Conv(r, w2)",
            w1=w1,
            b1=normal(4),
            w2=normal(2, 4, 1, 1),
        )
    )
    assert remove_dead(model) == ()


@examples(40)
@given(seed=st.integers(0, 2**32 - 1), length=st.integers(1, 7))
def test_whatever_goes_the_results_stay(seed: int, length: int) -> None:
    model = image_network(seed, length)
    rng = np.random.default_rng(seed)
    for value in model.graph.initializers.values():
        array = value.const_value.numpy().copy()
        if array.ndim in (2, 4) and array.dtype == np.float32 and len(array) > 2:
            # Filters that are zero, copies of others, or dead behind a Relu.
            for row in rng.permutation(len(array))[:2]:
                array[row] = rng.choice([0.0, 1.0]) * array[rng.integers(len(array))]
        if array.ndim == 1 and array.dtype == np.float32:
            array = np.round(array)
        value.const_value = ir.tensor(array, name=value.name)
    Clean()(model)
    InferShapes()(model)
    changed = model.clone()
    before = weight_bytes(optimize(model.clone()))
    removed = remove_dead(changed)
    if removed:
        assert weight_bytes(changed) < before
    check_same(model, changed, 2, 3, 8, 8, tolerance=1e-4)
