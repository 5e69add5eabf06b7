from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from runtimes.onnx_graph.values import (
    Names,
    add_initializer,
    constant,
    drop_if_unused,
    is_constant,
    only_user,
    refine_shape,
    replace_value,
    small_ints,
    static_shape,
)


@pytest.fixture
def model(graph):
    return graph(
        "(float[N, 2] x, float[2] d) => (float[N, 2] y, float[2] k)",
        "a = Add(x, c) b = Add(a, d) y = Mul(b, b)",
        c=np.ones(2, np.float32),
        d=np.ones(2, np.float32),
        k=np.ones(2, np.float32),
    )


def test_only_what_nobody_can_override_is_constant(model):
    c, d = model.graph[0].inputs[1], model.graph[1].inputs[1]
    assert is_constant(c)
    assert not is_constant(d)
    assert constant(d) is None
    assert not is_constant(None)
    assert is_constant(model.graph.outputs[1])


def test_only_user(model):
    a, b = model.graph[0].outputs[0], model.graph[1].outputs[0]
    assert only_user(a) is model.graph[1]
    assert only_user(b) is None
    assert only_user(model.graph.outputs[0]) is None


def test_small_ints(model):
    tensors = {
        "fits": np.array([1, 2]),
        "scalar": np.array(3, np.int32),
        "floats": np.ones(2, np.float32),
        "matrix": np.ones((1, 2), np.int64),
        "long": np.zeros(65, np.int64),
    }
    found = {k: small_ints(add_initializer(model.graph, k, a)) for k, a in tensors.items()}
    assert found == {"fits": (1, 2), "scalar": (3,), "floats": None, "matrix": None, "long": None}


def test_new_initializers_get_names_of_their_own(model):
    array = np.ones(1)
    names = [add_initializer(model.graph, base, array).name for base in ("a", "c", "c", "x", "new")]
    assert names == ["a_1", "c_1", "c_2", "x_1", "new"]


def test_names_can_be_freed(model):
    names = Names(model.graph)
    names.free("a")
    assert [names.take("a"), names.take("a")] == ["a", "a_1"]


def test_replacing_an_output_keeps_its_name(model):
    b, y = model.graph[1].outputs[0], model.graph.outputs[0]
    replace_value(y, b)
    assert model.graph.outputs[0] is b
    assert b.name == "y"


def test_unused_initializers_are_dropped_and_used_ones_kept(model):
    c = model.graph[0].inputs[1]
    drop_if_unused([c, *model.graph.outputs, None])
    assert set(model.graph.initializers) == {"c", "d", "k"}
    model.graph[0].replace_input_with(1, model.graph.inputs[1])
    drop_if_unused([c])
    assert set(model.graph.initializers) == {"d", "k"}


@pytest.mark.parametrize(
    ("have", "other", "result"),
    [
        (None, ["N", 2], ["N", 2]),
        ([None, "M"], ["N", 3], ["N", 3]),
        (["N", 3], ["M", 4], ["N", 3]),
        (["N", None], [2, 3, 4], ["N", None]),
        (["N"], None, ["N"]),
    ],
)
def test_shapes_are_refined_and_never_contradicted(have, other, result):
    value = ir.Value(shape=None if have is None else ir.Shape(have))
    refine_shape(value, None if other is None else ir.Shape(other))
    assert value.shape == result


def test_static_shape():
    assert static_shape(ir.Value(shape=ir.Shape([2, 3]))) == (2, 3)
    assert static_shape(ir.Value(shape=ir.Shape([2, "N"]))) is None
    assert static_shape(ir.Value()) is None
