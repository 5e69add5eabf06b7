"""What ONNX Runtime's recurrent layers lack: the batch as the first axis."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from trainable_cases.case import Case
from trainable_cases.recurrent import recurrent
from trainable_checks import feed_of, model_of, values_of

LENGTHS = np.array([4, 2, 3], np.int32)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_the_batch_may_be_the_first_axis(kind: str, direction: str) -> None:
    plain = recurrent(kind, direction=direction, lengths=LENGTHS, initial=True)
    arrays = list(plain.arrays)
    for place in (0, 5, 6):
        if place < len(arrays):
            arrays[place] = np.swapaxes(arrays[place], 0, 1)
    moved = replace(plain, arrays=tuple(arrays), attributes={**plain.attributes, "layout": 1})
    expected, found = results(plain), results(moved)
    sequence = expected.pop("y0").transpose(2, 0, 1, 3)
    np.testing.assert_allclose(found["y0"], sequence, rtol=1e-6, atol=1e-6)
    for name, state in expected.items():
        np.testing.assert_allclose(found[name], state.swapaxes(0, 1), rtol=1e-6, atol=1e-6)


def results(case: Case) -> dict[str, Any]:
    found = values_of(model_of(case), feed_of(case))
    return {name: value for name, value in found.items() if name.startswith("y")}
