"""What a search without labels should reach, so that the budget with labels is kept."""

import math

import numpy as np
import pytest

from runtimes import Dataset
from runtimes.base import TensorSpec
from runtimes.errors import DataError
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


def test_a_metric_may_state_its_own_drop() -> None:
    budget = Budget("top1:a=0.02, r2:b , mae:c=0.5")
    assert budget.metric == "top1:a,r2:b,mae:c"
    assert budget.drops == (("top1:a", 0.02), ("mae:c", 0.5))
    rules = budget.resolve(None).rules()
    assert [rules.allowed(name) for name in ("top1:a", "r2:b", "mae:c")] == [0.02, 0.01, 0.5]
    assert budget.drop == 0.01  # what a search keeps inside of
    assert Budget("top1=0.02", max_drop=0.3).rules().allowed("top1") == 0.02
    assert Budget("mae=0.5").resolve(None).drop == 0.5
    assert without_labels(budget, [], *[Dataset.open(DATA)] * 2).drops == budget.drops


@pytest.mark.parametrize("drop", ["", "much", "-0.1", "nan", "inf"])
def test_a_drop_is_a_number(drop: str) -> None:
    with pytest.raises(DataError, match=r"behind = stands its acceptable loss"):
        Budget(f"r2:b,top1:a={drop}")


def test_informing_metrics_and_one_that_judges() -> None:
    assert Budget("top1", max_drop=math.inf).rules().max_drop is None
    rules = Budget("top1:a=0.02,r2:b", max_drop=math.inf).rules()
    assert (rules.allowed("top1:a"), rules.allowed("r2:b")) == (0.02, math.inf)


@pytest.mark.parametrize(
    ("metric", "max_drop", "expected"),
    [
        ("psnr", None, {"psnr": 0.1}),
        ("psnr:clean,top1:kind", None, {"psnr:clean": 0.1}),
        ("psnr=0.5", None, {"psnr": 0.5}),
        ("psnr", 0.3, {}),
        ("ssim", None, {}),
    ],
)
def test_decibels_may_fall_by_more_than_a_share(
    metric: str, max_drop: float | None, expected: dict[str, float]
) -> None:
    budget = Budget(metric, max_drop)
    assert dict(budget.drops) == expected
    assert budget.resolve(None).drops == budget.drops
    assert budget.resolve(None).shared_drop == (
        max_drop or (0.1 if metric == "psnr" else 0.5 if metric == "psnr=0.5" else 0.01)
    )
