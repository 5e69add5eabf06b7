"""Metrics over batches, and finding the output that has labels."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.errors import DataError
from runtimes.metrics.metric import drop, open_metric
from runtimes.metrics.names import METRIC_NAMES


def accumulated(
    name: str, outputs: Mapping[str, Any], labels: Mapping[str, Any], batch: int = 3
) -> float:
    metric = open_metric(name, list(outputs), list(labels))
    count = len(next(iter(outputs.values())))
    for start in range(0, count, batch):
        rows = slice(start, start + batch)
        metric.update(
            {key: np.asarray(value)[rows] for key, value in outputs.items()},
            {key: np.asarray(value)[rows] for key, value in labels.items()},
            np.arange(count)[rows],
        )
    return metric.value()


@given(st.integers(1, 30), st.integers(1, 30))
def test_batches_do_not_change_a_mean(count: int, batch: int) -> None:
    rng = np.random.default_rng(count)
    output, labels = rng.random((count, 7)), rng.integers(0, 7, count)
    found = accumulated("top1", {"y": output}, {"": labels}, batch)
    assert found == pytest.approx((output.argmax(1) == labels).mean())
    found = accumulated("mse", {"y": output}, {"y": output + 2}, batch)
    assert found == pytest.approx(4)


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=2, max_size=30))
def test_auc_is_the_share_of_pairs_in_order(samples: list[tuple[int, bool]]) -> None:
    scores = np.array([score for score, _ in samples], np.float32)
    labels = np.array([label for _, label in samples])
    if labels.all() or not labels.any():
        with pytest.raises(DataError, match="samples of both classes"):
            accumulated("auc", {"y": scores}, {"": labels})
        return
    pairs = scores[labels][:, None] - scores[~labels][None]
    expected = ((pairs > 0) + 0.5 * (pairs == 0)).mean()
    assert accumulated("auc", {"y": scores}, {"": labels}) == pytest.approx(expected)
    two = np.stack([-scores, scores], axis=1)
    assert accumulated("auc", {"y": two}, {"": labels}) == pytest.approx(expected)


@given(st.integers(2, 30), st.integers(1, 30))
def test_pearson_is_the_correlation_of_all_elements(count: int, batch: int) -> None:
    rng = np.random.default_rng(count)
    output = rng.standard_normal((count, 3))
    labels = output + rng.standard_normal((count, 3))
    found = accumulated("pearson", {"y": output}, {"": labels}, batch)
    assert found == pytest.approx(np.corrcoef(output.ravel(), labels.ravel())[0, 1])
    with pytest.raises(DataError, match="pearson needs values that vary"):
        accumulated("pearson", {"y": output}, {"": np.ones((count, 3))}, batch)


def test_every_metric_knows_what_is_better() -> None:
    better = {name: open_metric(name, ["y"], [""]).higher_is_better for name in METRIC_NAMES}
    assert [name for name, higher in better.items() if not higher] == ["mae", "mse", "rmse"]
    assert drop(0.9, 0.8, higher_is_better=True) == pytest.approx(0.1)
    assert drop(0.9, 0.8, higher_is_better=False) == pytest.approx(-0.1)


def test_the_labelled_output_is_found() -> None:
    outputs = {"box": np.zeros((2, 4)), "face": np.float32([[1, 0], [0, 1]])}
    assert accumulated("top1", outputs, {"face": [0, 0]}) == 0.5
    assert accumulated("top1:face", outputs, {"": [0, 1]}) == 1
    assert accumulated("top1:face", outputs, {"face": [0, 1], "box": [3, 3]}) == 1


@pytest.mark.parametrize(
    ("name", "outputs", "labels", "message"),
    [
        (
            "top2",
            ["y"],
            [""],
            r"'top2' \(did you mean 'top5'\?\); there are .*module:function",
        ),
        ("top1", ["y"], [], "needs labels: an array 'labels' or 'labels:<output>'"),
        ("top1", ["a", "b"], [""], "outputs 'a', 'b'; say which .*'labels:a'.*top1:a"),
        ("top1", ["a"], ["q"], "'labels:q' belong to no output; the model has 'a'"),
        ("top1", ["a", "b"], ["a", "b"], "labels for several outputs .* top1:a"),
        ("top1:q", ["a"], [""], "names the output 'q'; the model has 'a'"),
        ("top1:digt", ["digit", "ink"], [""], r"'digt' \(did you mean 'digit'\?\); the model has"),
        (
            "top1",
            ["digit"],
            ["digt"],
            r"no output \(did you mean 'digit'\?\); the model has 'digit'",
        ),
        ("mae:ink", ["digit", "ink"], ["digit"], "'mae:ink'; the data have 'labels:digit'"),
        ("top1:b", ["a", "b"], ["a"], "no labels 'labels:b'"),
        ("nowhere.at_all:f", ["y"], [""], "'nowhere.at_all:f' cannot be imported"),
        ("math:nothing", ["y"], [""], "math has no 'nothing'"),
        ("math:pi", ["y"], [""], "is not a function"),
        ("statistics:mean", ["y"], [], "needs labels"),
    ],
)
def test_metrics_that_cannot_be_had(
    name: str, outputs: list[str], labels: list[str], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        open_metric(name, outputs, labels)


@pytest.fixture
def own_metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "own_metrics.py").write_text(
        "import numpy as np\n"
        "def spread(outputs, labels):\n"
        "    return np.ptp(outputs) - labels.sum()\n"
        "spread.higher_is_better = False\n"
        "def of_dicts(outputs, labels):\n"
        "    return sum(a.size for a in outputs.values()) + 100 * labels.size\n"
        "of_dicts.higher_is_better = True\n"
        "def broken(outputs, labels):\n"
        "    raise KeyError('oops')\n"
        "broken.higher_is_better = True\n"
        "def infinite(outputs, labels):\n"
        "    return float('inf')\n"
        "infinite.higher_is_better = True\n"
    )
    monkeypatch.chdir(tmp_path)
    return "own_metrics"


def test_a_function_of_the_users_sees_everything_at_once(own_metrics: str) -> None:
    name = f"{own_metrics}:spread"
    assert accumulated(name, {"y": np.arange(10.0)}, {"": np.ones(10)}) == 9 - 10
    assert not open_metric(name, ["y"], [""]).higher_is_better
    two = {"a": np.zeros((4, 2)), "b": np.zeros(4)}
    assert accumulated(f"{own_metrics}:of_dicts", two, {"a": np.ones(4)}) == 12 + 400


def test_a_function_that_fails_is_named(own_metrics: str) -> None:
    for function, message in (("broken", "failed: KeyError: 'oops'"), ("infinite", "gave inf")):
        with pytest.raises(DataError, match=f"'{own_metrics}:{function}' {message}"):
            accumulated(f"{own_metrics}:{function}", {"y": np.zeros(2)}, {"": np.zeros(2)})
