from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converter.passes.cleanup.clean import Clean
from converter.passes.shapes.infer_shapes import InferShapes
from converter.passes.shapes.shape_data import Dimension
from converter.passes.shapes.static_shapes import FoldStaticShapes, reshape_target

FLATTEN = """s = Shape(x) c = Cast<to = 6>(s) b = Slice(c, zero, one, zero)
 t = Concat<axis = 0>(b, rest) u = Cast<to = 7>(t) f = Reshape(x, u) y = Relu(f)"""
ARRAYS = {"zero": np.array([0]), "one": np.array([1])}


def fold(check_pass, model, **options):
    InferShapes()(model)
    result = check_pass(FoldStaticShapes(), model, **options)
    Clean()(model)
    return result


def test_flatten_as_tensorflow_writes_it(graph, check_pass, ops):
    model = graph("(float[N, 4, 5] x) => (float[N, 20] y)", FLATTEN,
                  rest=np.array([20], np.int32), **ARRAYS)  # fmt: skip
    assert fold(check_pass, model).modified
    assert ops(model) == ["Reshape", "Relu"]
    (target,) = model.graph.initializers.values()
    assert target.const_value.numpy().tolist() == [0, 20]
    assert not fold(check_pass, model).modified


def test_a_batch_without_name_is_copied_too(graph, check_pass, ops):
    model = graph("(float[?, 4, 5] x) => (float[?, 20] y)", FLATTEN,
                  rest=np.array([20], np.int32), **ARRAYS)  # fmt: skip
    assert fold(check_pass, model).modified
    assert ops(model) == ["Reshape", "Relu"]


def test_a_dimension_from_another_tensor_is_what_is_left(graph, check_pass, ops):
    model = graph(
        "(float[N, 4, 6] x, float[M, 2] w) => (float[A, 6] y)",
        "s = Shape<end = 1>(w) t = Concat<axis = 0>(s, rest) y = Reshape(x, t)",
        rest=np.array([8]),
    )
    model.graph.outputs[0].shape = None
    InferShapes()(model)
    assert FoldStaticShapes()(model).modified
    (target,) = (v for name, v in model.graph.initializers.items() if name != "rest")
    assert target.const_value.numpy().tolist() == [-1, 8]


def test_dynamic_height_and_width_stay_dynamic(graph, check_pass, ops):
    model = graph(
        "(float[N, H, W, 6] x) => (float[N, H, W, A, B] y)",
        """s = Shape(x) a = Slice(s, zero, three, zero) t = Concat<axis = 0>(a, rest)
        y = Reshape(x, t)""",
        zero=np.array([0]),
        three=np.array([3]),
        rest=np.array([2, 3]),
    )
    assert fold(check_pass, model).modified
    assert ops(model) == ["Reshape"]
    (target,) = model.graph.initializers.values()
    assert target.const_value.numpy().tolist() == [0, 0, 0, 2, 3]


def test_two_moved_dimensions_are_refused(graph, check_pass, ops):
    model = graph(
        "(float[N, H, 6] x) => (float[H, N, 6] y)",
        "s = Shape(x) t = Gather(s, order) y = Reshape(x, t)",
        order=np.array([1, 0, 2]),
    )
    result = fold(check_pass, model)
    assert not result.modified
    assert "two dimensions" in str(result.refusals[0])
    assert ops(model) == ["Shape", "Gather", "Reshape"]


def test_numbers_become_constants_wherever_they_are_used(graph, check_pass, ops):
    model = graph(
        "(float[N, 4, 5] x) => (float[N, 4, 5, 4] y)",
        "s = Shape(x) d = Gather(s, one) e = Cast<to = 7>(d) y = OneHot(i, e, v)",
        one=np.array(1),
        v=np.array([0, 1], np.float32),
        i=np.zeros((3, 4, 5), np.int64),
    )
    assert fold(check_pass, model).modified
    assert ops(model) == ["OneHot"]


def test_a_minus_one_that_means_the_batch_keeps_its_name(graph, check_pass):
    model = graph("(float[N, 4, 6] x) => (float[N, 3, 8] y)", "r = Reshape(x, t) y = Relu(r)",
                  t=np.array([-1, 3, 8]))  # fmt: skip
    assert fold(check_pass, model).modified
    InferShapes()(model)
    assert model.graph[0].outputs[0].shape == ["N", 3, 8]


@pytest.mark.parametrize("target", [[-1, 4, 3], [3, -1, 8], [-1, 6]])
def test_a_minus_one_that_means_something_else_stays(graph, check_pass, target):
    out = ", ".join("ABC"[: len(target)])
    model = graph(f"(float[N, 4, 6] x) => (float[{out}] y)", "r = Reshape(x, t) y = Relu(r)",
                  t=np.array(target))  # fmt: skip
    assert not fold(check_pass, model).modified


def test_an_integer_output_of_the_graph_stays(graph, check_pass):
    model = graph("(float[N, 4] x) => (int64[1] y)", "y = Shape<start = 1>(x)")
    assert not fold(check_pass, model).modified


NAMES = {"A": 2, "B": 3}
ELEMENTS = st.one_of(st.integers(1, 4), st.sampled_from([Dimension(name) for name in NAMES]))


@given(st.lists(ELEMENTS, max_size=4), st.lists(ELEMENTS, max_size=4))
def test_the_target_gives_the_wanted_shape(source, wanted):
    target = reshape_target(source, wanted)
    sizes = [[e if isinstance(e, int) else NAMES[e.name] for e in s] for s in (source, wanted)]
    if target is None:
        moved = [i for i, e in enumerate(wanted) if not isinstance(e, int)]
        assert len([i for i in moved if i >= len(source) or source[i] != wanted[i]]) > 1
    elif np.prod(sizes[0]) == np.prod(sizes[1]):
        dims = [sizes[0][i] if d == 0 else d for i, d in enumerate(target)]
        assert np.zeros(sizes[0]).reshape(dims).shape == tuple(sizes[1])


@pytest.mark.parametrize("wanted", [(0, 4), (Dimension("A"), 0), (-2,)])
def test_zeros_and_nonsense_have_no_target(wanted):
    assert reshape_target((Dimension("A"), 4), wanted) is None
