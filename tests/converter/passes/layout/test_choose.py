from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converter.passes.cleanup.clean import Clean
from converter.passes.layout.choose import MoveSqueezes, MoveTransposes
from converter.passes.shapes.infer_shapes import InferShapes
from runtimes.onnx_graph.fold_constants import FoldConstants

FIRST, LAST = "<perm = [0, 3, 1, 2]>", "<perm = [0, 2, 3, 1]>"


def normal(*shape):
    return np.random.default_rng(shape).normal(size=shape).astype(np.float32)


def arrange(check_pass, model, **options):
    """Move the Transposes, and tidy up before the operators are counted."""
    InferShapes()(model)
    result = check_pass(MoveTransposes(), model, **options)
    assert not check_pass(MoveTransposes(), model, **options).modified
    FoldConstants()(model)
    Clean()(model)
    return result


def test_everything_between_two_convolutions_moves_to_channels_first(graph, check_pass, ops):
    model = graph(
        "(float[N, 3, 8, 8] x) => (float[N, 5, 8, 8] y)",
        f"""c = Conv(x, w) t = Transpose{LAST}(c)
        m = Mul(t, k) r = Relu(m) p = Clip(r, zero, six) a = Add(p, t)
        u = Transpose{FIRST}(a) y = Conv(u, v)""",
        w=normal(4, 3, 1, 1),
        v=normal(5, 4, 1, 1),
        k=normal(4),
        zero=np.float32(0),
        six=np.float32(6),
    )
    assert arrange(check_pass, model).modified
    assert ops(model) == ["Conv", "Mul", "Relu", "Clip", "Add", "Conv"]


def test_branches_meet_in_one_order(graph, check_pass, ops):
    model = graph(
        "(float[N, 8, 8, 3] x) => (float[N, 8, 8, 9] y)",
        f"""s = Transpose{FIRST}(x) c = Conv(s, w) d = Conv(s, v)
        t = Transpose{LAST}(c) u = Transpose{LAST}(d)
        r = Relu(t) q = Concat<axis = 3>(r, u) y = Sigmoid(q)""",
        w=normal(4, 3, 1, 1),
        v=normal(5, 3, 1, 1),
    )
    assert arrange(check_pass, model).modified
    assert sorted(ops(model)) == [
        "Concat", "Conv", "Conv", "Relu", "Sigmoid", "Transpose", "Transpose",
    ]  # fmt: skip


def test_a_reduction_takes_the_transpose_with_it(graph, check_pass, ops):
    model = graph(
        "(float[N, 3, 8, 8] x) => (float[N, 4] y)",
        f"""c = Conv(x, w) t = Transpose{LAST}(c) r = Relu(t)
        y = ReduceMean<keepdims = 0>(r, axes)""",
        w=normal(4, 3, 1, 1),
        axes=np.array([1, 2]),
    )
    assert arrange(check_pass, model).modified
    assert ops(model) == ["Conv", "Relu", "ReduceMean"]


def test_a_convolution_on_sequences_moves_through_its_wrappers(graph, check_pass, ops):
    model = graph(
        "(float[N, 3, 1, 8] x) => (float[N, 4, 1, 8] y)",
        f"""c = Conv(x, w) t = Transpose{LAST}(c) s = Squeeze(t, one) m = Mul(s, k) r = Relu(m)
        p = Pad(r, pads) u = Unsqueeze(p, one) q = Transpose{FIRST}(u) y = Conv(q, v)""",
        w=normal(4, 3, 1, 1),
        v=normal(4, 4, 1, 3),
        k=normal(8, 4),
        one=np.array([1]),
        pads=np.array([0, 2, 0, 0, 0, 0]),
    )
    assert arrange(check_pass, model).modified
    assert ops(model) == ["Conv", "Squeeze", "Mul", "Relu", "Pad", "Unsqueeze", "Conv"]


def test_the_smaller_of_two_places_is_taken(graph, check_pass, ops):
    model = graph(
        "(float[N, 4, 8, 8] x) => (float[N, 2, 2, 4] y)",
        f"t = Transpose{LAST}(x) r = Relu(t) y = Slice(r, starts, ends, axes, steps)",
        starts=np.array([0, 0]),
        ends=np.array([8, 8]),
        axes=np.array([1, 2]),
        steps=np.array([4, 4]),
    )
    assert arrange(check_pass, model).modified
    assert ops(model) == ["Relu", "Slice", "Transpose"]


NEAR_MISSES = {
    "nothing is gained": (f"t = Transpose{LAST}(x) r = Relu(t) y = MatMul(r, w)", "N, 8, 8, 4"),
    "the order is used": (
        f"t = Transpose{LAST}(x) m = MatMul(t, w) y = Transpose{FIRST}(m)",
        "N, 4, 8, 8",
    ),
    "another rank": (
        f"t = Transpose{LAST}(x) d = ReduceSum<keepdims = 0>(x, axes)"
        f" a = Add(t, d) y = MatMul(a, w)",
        "N, 8, 8, 4",
    ),
}


@pytest.mark.parametrize("name", NEAR_MISSES)
def test_near_misses_stay(graph, check_pass, ops, name):
    body, shape = NEAR_MISSES[name]
    arrays = {"w": normal(4, 4)}
    if "axes" in body:
        arrays["axes"] = np.array([0, 2, 3])
    model = graph(f"(float[N, 4, 8, 8] x) => (float[{shape}] y)", body, **arrays)
    before = ops(model)
    assert not arrange(check_pass, model).modified
    assert ops(model) == before


def test_what_a_subgraph_uses_stays_in_its_order(graph, check_pass):
    model = graph(
        "(float[N, 4, 8, 8] x, bool c) => (float[N, 4, 8, 8] y)",
        f"""t = Transpose{LAST}(x) r = Relu(t) b = If (c) <
          then_branch = a () => (float[N, 8, 8, 4] u) {{ u = Softmax<axis = 3>(r) }},
          else_branch = e () => (float[N, 8, 8, 4] v) {{ v = Neg(r) }}
        > y = Transpose{FIRST}(b)""",
    )
    InferShapes()(model)
    check_pass(MoveTransposes(), model, seed=1)
    branch = (
        model.graph.node("If_0") if False else next(n for n in model.graph if n.op_type == "If")
    )
    assert branch.attributes["then_branch"].as_graph()[0].inputs[0].shape[3] == 4


def test_an_older_opset_is_refused(graph, check_pass):
    model = graph(
        "(float[N, 4, 8, 8] x) => (float[N, 4, 8, 8] y)",
        f"t = Transpose{LAST}(x) r = Relu(t) y = Transpose{FIRST}(r)",
        opset=11,
    )
    InferShapes()(model)
    result = check_pass(MoveTransposes(), model)
    assert not result.modified
    assert "older than 13" in str(result.refusals[0])


def test_layers_stay_named(graph, check_pass):
    model = graph(
        "(float[N, 4, 8, 8] x) => (float[N, 4, 8, 8] y)",
        f"t = Transpose{LAST}(x) [act] r = Relu(t) y = Transpose{FIRST}(r)",
    )
    model.graph.node("act").metadata_props["layer"] = "act"
    InferShapes()(model)
    assert MoveTransposes()(model).modified
    assert model.graph.node("act").metadata_props == {"layer": "act"}


PERMS = st.permutations(range(4))


class Program:
    """Builds a random model step by step; every value has rank four, or is an output."""

    def __init__(self):
        self.x = ir.val("x", ir.DataType.FLOAT, [2, 3, 4, 5])
        self.values = [(self.x, (2, 3, 4, 5))]
        self.flat, self.nodes, self.weights = [], [], []

    def constant(self, *numbers):
        array = np.array(numbers) if all(isinstance(n, int) for n in numbers) else numbers[0]
        name = f"k{len(self.weights)}"
        tensor = ir.tensor(array, name=name)
        value = ir.val(name, tensor.dtype, array.shape, const_value=tensor)
        self.weights.append(value)
        return value

    def emit(self, op, inputs, attributes=None, count=1):
        node = ir.node(op, inputs, attributes or {}, num_outputs=count)
        self.nodes.append(node)
        for index, value in enumerate(node.outputs):
            value.name = f"v{len(self.nodes)}_{index}"
        return node.outputs

    def step(self, kind, first, second, perm, axis):
        (value, shape), (other, other_shape) = (
            self.values[place % len(self.values)] for place in (first, second)
        )
        if kind in ("add", "concat", "where") and shape != other_shape:
            return
        for made, new_shape in getattr(self, kind)(value, other, shape, perm, axis):
            self.values.append((made, new_shape))

    def transpose(self, value, other, shape, perm, axis):
        made = self.emit("Transpose", [value], {"perm": list(perm)})
        return [(made[0], tuple(shape[p] for p in perm))]

    def relu(self, value, other, shape, perm, axis):
        return [(self.emit("Relu", [value])[0], shape)]

    def mul(self, value, other, shape, perm, axis):
        return [(self.emit("Mul", [value, self.constant(normal(*shape[axis:]))])[0], shape)]

    def add(self, value, other, shape, perm, axis):
        return [(self.emit("Add", [value, other])[0], shape)]

    def where(self, value, other, shape, perm, axis):
        mask = self.emit("Less", [value, other])[0]
        return [(self.emit("Where", [mask, value, self.constant(np.float32(2))])[0], shape)]

    def concat(self, value, other, shape, perm, axis):
        made = self.emit("Concat", [value, other], {"axis": axis - 4})
        return [(made[0], resized(shape, axis, 2 * shape[axis]))]

    def split(self, value, other, shape, perm, axis):
        if shape[axis] % 2:
            return []
        made = self.emit("Split", [value], {"axis": axis, "num_outputs": 2}, 2)
        return [(half, resized(shape, axis, shape[axis] // 2)) for half in made]

    def reduce(self, value, other, shape, perm, axis):
        made = self.emit("ReduceSum", [value, self.constant(axis)])
        return [(made[0], resized(shape, axis, 1))]

    def reduce_flat(self, value, other, shape, perm, axis):
        axes = self.constant(*sorted({axis, perm[0]}))
        self.flat += self.emit("ReduceMax", [value, axes], {"keepdims": 0})
        return []

    def softmax(self, value, other, shape, perm, axis):
        return [(self.emit("Softmax", [value], {"axis": axis})[0], shape)]

    def pad(self, value, other, shape, perm, axis):
        pads = [*perm, *perm[::-1]]
        padded = tuple(s + pads[i] + pads[i + 4] for i, s in enumerate(shape))
        return [(self.emit("Pad", [value, self.constant(*pads)])[0], padded)]

    def slice(self, value, other, shape, perm, axis):
        if shape[axis] == 1:
            return []
        bounds = [self.constant(1), self.constant(99), self.constant(axis - 4)]
        made = self.emit("Slice", [value, *bounds])
        return [(made[0], resized(shape, axis, shape[axis] - 1))]

    def squeeze(self, value, other, shape, perm, axis):
        if shape[axis] != 1:
            return []
        axes = self.constant(axis)
        flat = self.emit("Relu", self.emit("Squeeze", [value, axes]))
        other = perm[0]
        new = self.emit("Unsqueeze", [*flat, self.constant(other)])
        left = [*shape[:axis], *shape[axis + 1 :]]
        return [(new[0], (*left[:other], 1, *left[other:]))]

    def model(self):
        ends = [value for value, _ in self.values if not value.uses()]
        outputs = self.flat + ends
        if self.x in outputs:
            return None
        for value in outputs:
            value.type = ir.TensorType(ir.DataType.FLOAT)
        graph = ir.Graph(
            [self.x],
            outputs,
            nodes=self.nodes,
            initializers=self.weights,
            opset_imports={"": 18},
            name="random",
        )
        model = ir.Model(graph, ir_version=9)
        InferShapes()(model)
        return model


def resized(shape, axis, size):
    return (*shape[:axis], size, *shape[axis + 1 :])


KINDS = [
    *["transpose"] * 4,
    *("relu", "mul", "add", "concat", "reduce", "reduce_flat", "softmax"),
    *("pad", "slice", "squeeze", "split", "where"),
]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(KINDS), st.integers(0, 9), st.integers(0, 9), PERMS, st.integers(0, 3)
    ),
    min_size=2,
    max_size=9,
)


def test_what_follows_a_convolution_on_sequences_stays_next_to_it(graph, check_pass, ops):
    model = graph(
        "(float[N, 3, 1, 8] x) => (float[N, 4, 8] y)",
        """c = Conv(x, w) s = Squeeze(c, two) m = Mul(s, k) r = Relu(m) p = Pad(r, pads)
        u = Unsqueeze(p, two) d = Conv(u, v) t = Squeeze(d, two) a = Add(t, r) y = Relu(a)""",
        w=normal(4, 3, 1, 1),
        v=normal(4, 4, 1, 3),
        k=normal(4, 8),
        two=np.array([2]),
        pads=np.array([0, 0, 2, 0, 0, 0]),
    )
    InferShapes()(model)
    assert check_pass(MoveSqueezes(), model).modified
    assert not check_pass(MoveSqueezes(), model).modified
    Clean()(model)
    assert ops(model) == ["Conv", "Mul", "Relu", "Pad", "Conv", "Add", "Squeeze", "Relu"]


def test_an_activation_goes_to_its_convolution_at_equal_cost(graph, check_pass, ops):
    model = graph("(float[N, 3, 8, 8] x) => (float[N, 8, 8, 4] y)",
                  f"c = Conv(x, w) t = Transpose{LAST}(c) y = Relu(t)",
                  w=normal(4, 3, 1, 1))  # fmt: skip
    assert arrange(check_pass, model).modified
    assert ops(model) == ["Conv", "Relu", "Transpose"]


def test_a_flattened_sample_may_have_any_order(graph, check_pass, ops):
    model = graph(
        "(float[N, 3, 4, 4] x) => (float[N, 5] y)",
        f"t = Transpose{LAST}(x) r = Exp(t) f = Reshape(r, shape) y = MatMul(f, w)",
        shape=np.array([-1, 48]),
        w=normal(48, 5),
    )
    assert arrange(check_pass, model).modified
    assert ops(model) == ["Exp", "Transpose", "Reshape", "MatMul"]


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_any_program_computes_the_same_with_no_more_transposes(check_pass, ops, steps):
    program = Program()
    for step in steps:
        program.step(*step)
    model = program.model()
    if model is None:
        return
    before = ops(model).count("Transpose")
    check_pass(MoveTransposes(), model)
    Clean()(model)
    assert ops(model).count("Transpose") <= before
    InferShapes()(model)
    before = sum(op in ("Squeeze", "Unsqueeze") for op in ops(model))
    check_pass(MoveSqueezes(), model)
    Clean()(model)
    assert sum(op in ("Squeeze", "Unsqueeze") for op in ops(model)) <= before
