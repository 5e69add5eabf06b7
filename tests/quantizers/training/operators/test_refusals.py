"""What cannot be trained through is refused by name, with the reason."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from trainable_cases.case import Case, case, distinct, floats, ints, positive
from trainable_cases.recurrent import recurrent
from trainable_checks import feed_of, model_of, values_of

from runtimes.errors import UnsupportedOperator

X = floats(2, 3, 4, 5)
FOUR = [positive(3) for _ in range(4)]
SCALES = np.array([1, 1, 2, 2], np.float32)
SCATTERED = (X, np.array([[0, 2]]), floats(1, 4, 5))

REFUSED = {
    "its indices are read": Case(
        "MaxPool", (distinct(2, 3, 4, 5),), {"kernel_shape": [2, 2]}, outputs=2
    ),
    "it is in training mode": Case(
        "BatchNormalization", (X, *FOUR), {"training_mode": 1}, outputs=3, opset=15
    ),
    "its activation is Log": recurrent("RNN", activations=["Log"]),
    "its attribute antialias is 1": case("Resize", X, None, SCALES, mode="linear", antialias=1),
    "its coordinate_transformation_mode is tf_crop_and_resize": case(
        "Resize", X, None, SCALES, coordinate_transformation_mode="tf_crop_and_resize"
    ),
    "its reduction is mul": case("ScatterND", *SCATTERED, reduction="mul"),
    "it samples other than": case("GridSample", X, floats(2, 3, 3, 2), mode="bicubic"),
    "its mode is 'mirror'": case("Pad", X, ints(0, 0, 1, 1, 0, 0, 1, 1), mode="mirror"),
    "cannot be trained: kilnx has no gradient for it": case("NonZero", X),
    "no gradient for it": case("Bernoulli", np.abs(np.tanh(X))),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_a_refusal_names_the_node_and_the_reason(reason: str) -> None:
    one = REFUSED[reason]
    model = model_of(one)
    for value in model.graph.outputs[1 : one.outputs]:
        model.graph.append(_reader(value))
    with pytest.raises(UnsupportedOperator, match=f"{one.op_type} node") as caught:
        values_of(model, feed_of(one))
    assert reason in str(caught.value)
    assert "--no-recover" in str(caught.value)


def _reader(value: ir.Value) -> ir.Node:
    return ir.Node("", "Identity", [value], outputs=[ir.Value(name=f"{value.name}_read")])
