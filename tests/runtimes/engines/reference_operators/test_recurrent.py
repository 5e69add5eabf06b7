"""Recurrent operators of the reference evaluator, held against ONNX Runtime's kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from runtime_fixtures import HEADER
from single_node import on_both, single_node

from runtimes import open_runtime
from runtimes.engines.reference_operators.activations import activations_of

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
OUTPUTS = {"LSTM": ("y", "y_h", "y_c"), "GRU": ("y", "y_h"), "RNN": ("y", "y_h")}


def arrays(op: str, ways: int, lengths: list[int] | None = None, states: bool = False) -> list[Any]:
    rng = np.random.default_rng(2)
    gates = GATES[op]
    shapes = [(6, 3, 5), (ways, gates * 4, 5), (ways, gates * 4, 4), (ways, 2 * gates * 4)]
    made: list[Any] = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    made.append(None if lengths is None else np.int32(lengths))
    if states:
        count = 2 if op == "LSTM" else 1
        made += [rng.normal(size=(ways, 3, 4)).astype(np.float32) for _ in range(count)]
    if states and op == "LSTM":
        made.append(rng.normal(size=(ways, 12)).astype(np.float32))  # peepholes
    return made


@pytest.mark.parametrize("op", list(GATES))
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("lengths", [None, [6, 2, 4], [1, 3, 2]])
@pytest.mark.parametrize("states", [False, True])
def test_every_direction_with_lengths_and_states(
    op: str, direction: str, lengths: list[int] | None, states: bool
) -> None:
    given = arrays(op, 1 + (direction == "bidirectional"), lengths, states)
    attributes = {"hidden_size": 4, "direction": direction}
    ours, theirs = on_both(single_node(op, given, attributes, OUTPUTS[op]), given[0])
    for one, other in zip(ours, theirs, strict=True):
        assert one.dtype == np.float32
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("op", "attributes"),
    [
        ("LSTM", {"activations": ["HardSigmoid", "Relu", "Tanh"], "activation_alpha": [1 / 6]}),
        ("GRU", {"clip": 0.3}),
        ("RNN", {"clip": 0.3}),
        ("LSTM", {"input_forget": 1}),
        ("GRU", {"linear_before_reset": 1, "activations": ["Sigmoid", "Softsign"]}),
        ("RNN", {"activations": ["LeakyRelu"], "activation_alpha": [0.3]}),
        ("RNN", {"activations": ["Affine"], "activation_alpha": [0.3], "activation_beta": [0.1]}),
        ("RNN", {"activations": ["Elu"]}),
    ],
)
def test_attributes_are_obeyed(op: str, attributes: dict[str, Any]) -> None:
    given = arrays(op, 1)
    model = single_node(op, given, {"hidden_size": 4, **attributes}, OUTPUTS[op])
    ours, theirs = on_both(model, given[0])
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_the_gates_of_an_lstm_are_clipped() -> None:
    """One step, after which no cell exceeds the threshold: ONNX Runtime does not clip cells."""
    given = arrays("LSTM", 1)
    x = given[0][:1]
    model = single_node("LSTM", given, {"hidden_size": 4, "clip": 0.3}, OUTPUTS["LSTM"])
    ours, theirs = on_both(model, x)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    _, unclipped = on_both(single_node("LSTM", given, {"hidden_size": 4}, OUTPUTS["LSTM"]), x)
    assert np.abs(ours[2] - unclipped[2]).max() > 0.05


def test_alphas_and_betas_go_to_those_that_have_one_in_turn() -> None:
    names = ["Tanh", "HardSigmoid", "LeakyRelu", "ScaledTanh", "Elu"]
    attributes = {"activations": names, "activation_alpha": [0.5, 0.3], "activation_beta": [0.25]}
    x = np.float64([-0.2])
    found = [float(act(x)[0]) for act in activations_of(attributes, [])]
    expected = [np.tanh(-0.2), 0.15, -0.06, np.tanh(-0.2), np.expm1(-0.2)]
    np.testing.assert_allclose(found, expected)


def test_an_output_without_a_name_is_no_input_of_others() -> None:
    """The LSTM's first output is not wanted, and the Clip after it has no lower bound."""
    given = arrays("LSTM", 1)
    model = single_node("LSTM", given, {"hidden_size": 4}, (None, "y_h"))
    bound = ir.Value(name="top", const_value=ir.tensor(np.float32(0.1), name="top"))
    model.graph.register_initializer(bound)
    clip = ir.Node("", "Clip", [model.graph.outputs[0], None, bound], outputs=[ir.Value(name="z")])
    model.graph.append(clip)
    model.graph.outputs[:] = [clip.outputs[0]]
    (ours,), (theirs,) = on_both(model, given[0])
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    assert ours.min() < -0.1 < 0.1 == pytest.approx(ours.max())


def test_the_specification_still_runs_operators_that_are_not_ours() -> None:
    import onnx.parser

    text = "g (float[n] x) => (float[n] y) { y = Neg(x) }"
    model = ir.from_proto(onnx.parser.parse_model(HEADER + text))
    with open_runtime(model, "reference") as runtime:
        np.testing.assert_array_equal(runtime.run({"x": np.float32([1, -2])})["y"], [-1, 2])
