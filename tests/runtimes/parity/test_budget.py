"""What a search without labels should reach, so that the budget with labels is kept."""

import numpy as np
import pytest

from runtimes import Dataset
from runtimes.base import TensorSpec
from runtimes.parity.budget import Budget, search_floors

FACE = TensorSpec("face", np.dtype(np.float32), ("batch", 2))
BOX = TensorSpec("box", np.dtype(np.float32), ("batch", 4))
DATA = {"x": np.zeros((3, 2), np.float32), "labels:face": np.array([0, 1, 0])}


@pytest.mark.parametrize(
    ("outputs", "metric", "expected"),
    [
        ([FACE, BOX], None, (0.99, 20.0)),
        ([FACE], "top1", (0.95, 10.0)),
        ([FACE, BOX], "top1", (0.95, 20.0)),  # nothing but its noise judges the box
    ],
)
def test_floors_stand_for_the_budget(
    outputs: list[TensorSpec], metric: str | None, expected: tuple[float, float]
) -> None:
    inputs = (TensorSpec("x", np.dtype(np.float32), ("batch", 2)),)
    found = search_floors(
        outputs,
        Dataset.open(DATA, inputs=inputs),
        Budget(metric, max_drop=0.05),
    )
    assert found == pytest.approx(expected)
