"""Metrics of the user's, of scikit-learn and of Keras: direction, order of arguments, errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtimes.errors import DataError
from runtimes.metrics.direction import higher_is_better
from runtimes.metrics.metric import open_metric

RNG = np.random.default_rng(0)
SCORES = RNG.uniform(size=(40, 3))
CLASSES = RNG.integers(0, 3, 40)


def value(name: str, output: Any, labels: Any) -> float:
    metric = open_metric(name, ["y"], [""])
    metric.update({"y": np.asarray(output)}, {"": np.asarray(labels)}, np.arange(len(output)))
    return metric.value()


def named(name: str) -> Any:
    def function() -> None: ...

    function.__name__ = name
    return function


@pytest.mark.parametrize(
    ("name", "higher"),
    [
        *((name, False) for name in ("rmse", "my_rmse", "RMSE", "mean_absolute_error", "MaxError")),
        *((name, False) for name in ("log_loss", "brier_score_loss", "dice_loss", "wer", "MAPE")),
        *((name, False) for name in ("MeanSquaredError", "KLDivergence", "euclidean_distance")),
        *((name, True) for name in ("accuracy", "balanced_accuracy_score", "f1", "f1_macro")),
        *((name, True) for name in ("mean_iou", "MeanIoU", "BinaryAccuracy", "r2_score", "AUC")),
        *((name, True) for name in ("neg_mean_squared_error", "d2_absolute_error_score", "top3")),
    ],
)
def test_the_direction_is_in_the_name(name: str, higher: bool) -> None:
    assert higher_is_better(f"mine:{name}", named(name)) is higher


def test_an_attribute_goes_before_the_name() -> None:
    function = named("score")
    function.higher_is_better = False
    assert higher_is_better("mine:score", function) is False


@pytest.mark.parametrize("name", ["evaluate", "metric", "answer", "my_function"])
def test_where_nothing_tells_it_is_asked_for(name: str) -> None:
    with pytest.raises(DataError, match="better, or less") as error:
        higher_is_better(f"mine:{name}", named(name))
    assert str(error.value).endswith(f"{name}.higher_is_better = True (or False)")


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "ordered_metrics.py").write_text(
        "import numpy as np\n"
        "def bias(y_true, y_pred):\n    return (y_pred - y_true).mean()\n"
        "def bias_of(outputs, labels):\n    return (outputs - labels).mean()\n"
        "def errors(y_true, y_pred):\n    return np.abs(y_true - y_pred)\n"
        "def loss(y_true, y_pred):\n    return None\n"
    )
    monkeypatch.chdir(tmp_path)
    return "ordered_metrics"


def test_labels_come_first_where_the_parameters_say_so(mine: str) -> None:
    assert value(f"{mine}:bias", np.ones(4), np.zeros(4)) == 1.0
    assert value(f"{mine}:bias_of", np.ones(4), np.zeros(4)) == 1.0


def test_what_is_no_number_is_refused(mine: str) -> None:
    with pytest.raises(DataError, match=r"gave an array of shape \[4\], not one number"):
        value(f"{mine}:errors", np.ones(4), np.zeros(4))
    with pytest.raises(DataError, match="gave NoneType, not one number"):
        value(f"{mine}:loss", np.ones(4), np.zeros(4))


def test_a_module_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "failing_metrics.py").write_text("1 / 0\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="cannot be imported: ZeroDivisionError"):
        open_metric("failing_metrics:f", ["y"], [""])


def test_functions_of_scikit_learn_get_what_they_want() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    right = (SCORES.argmax(1) == CLASSES).mean()
    one_hot = np.eye(3)[CLASSES]
    assert value("sklearn.metrics:accuracy_score", SCORES, CLASSES) == right
    assert value("sklearn.metrics:accuracy_score", SCORES, CLASSES[:, None]) == right
    assert value("sklearn.metrics:accuracy_score", SCORES, one_hot) == right
    positive = CLASSES > 0
    column = SCORES[:, :1]
    expected = ((column[:, 0] > 0.5) == positive).mean()
    assert value("sklearn.metrics:accuracy_score", column, positive) == expected
    expected = metrics.roc_auc_score(positive, SCORES[:, 1])
    assert value("sklearn.metrics:roc_auc_score", SCORES[:, :2], positive) == expected
    found = value("sklearn.metrics:mean_squared_error", column, positive[:, None])
    assert found == pytest.approx(((column[:, 0] - positive) ** 2).mean())
    assert not open_metric("sklearn.metrics:mean_squared_error", ["y"], [""]).higher_is_better


def test_scorers_of_scikit_learn_are_better_when_higher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("sklearn")
    (tmp_path / "own_scorers.py").write_text(
        "from sklearn.metrics import make_scorer, max_error, fbeta_score\n"
        "worst = make_scorer(max_error, greater_is_better=False)\n"
        "f2 = make_scorer(fbeta_score, beta=2, average='macro')\n"
    )
    monkeypatch.chdir(tmp_path)
    metric = open_metric("own_scorers:worst", ["y"], [""])
    assert metric.higher_is_better
    assert value("own_scorers:worst", np.float32([1, 2]), np.float32([1, 5])) == -3
    assert 0 < value("own_scorers:f2", SCORES, CLASSES) < 1


def test_metrics_and_losses_of_keras() -> None:
    pytest.importorskip("keras")
    right = (SCORES.argmax(1) == CLASSES).mean()
    found = value("keras.metrics:SparseCategoricalAccuracy", SCORES, CLASSES)
    assert found == pytest.approx(right)
    assert open_metric("keras.metrics:SparseCategoricalAccuracy", ["y"], [""]).higher_is_better
    assert not open_metric("keras.losses:mean_absolute_error", ["y"], [""]).higher_is_better
    found = value("keras.losses:mean_absolute_error", np.ones((3, 2)), np.zeros((3, 2)))
    assert found == pytest.approx(1)
