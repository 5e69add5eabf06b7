"""What a search without labels should reach, so that the budget with labels is kept."""

import numpy as np
import pytest

from runtimes import Dataset
from runtimes.base import TensorSpec
from runtimes.parity.budget import Budget, search_floors, without_labels

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


SCORES = TensorSpec("price", np.dtype(np.float32), ("batch", 1))


def test_noise_matters_where_quantities_are_judged() -> None:
    data = Dataset.open({"x": np.zeros((3, 2), np.float32), "labels": np.arange(3.0)})
    assert search_floors([SCORES], data, Budget("r2", max_drop=0.01)) == pytest.approx((0.99, 20.0))


def test_calibration_without_labels_is_searched_by_floors() -> None:
    labelled = Dataset.open(DATA)
    bare = labelled.without_labels()
    budget = Budget("top1:face", max_drop=0.05)
    assert without_labels(budget, [FACE], labelled, labelled) == budget
    found = without_labels(budget, [FACE], labelled, bare)
    assert (found.metric, found.agreement, found.sqnr_db) == (None, 0.95, 10.0)
    assert without_labels(Budget(), [FACE], bare, bare) == Budget()


def test_several_metrics_are_one_text() -> None:
    assert Budget(["top1:a", "r2:b"]).metric == "top1:a,r2:b"  # type: ignore[arg-type]
