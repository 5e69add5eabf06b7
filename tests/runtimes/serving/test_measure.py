"""What is found out about a model before it is served."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("msgspec")

from served import MIXING, SOFTMAX, TEXT, write_model

from runtimes.base import Array, Feed, TensorSpec
from runtimes.engines.ort import OrtRuntime
from runtimes.errors import BudgetError, ModelError
from runtimes.serving.measure import Measured, compare_rows, has_free_batch, measure
from runtimes.serving.proof import prove_parity, require_finite, sqnr_db

pytestmark = pytest.mark.fast
X = (TensorSpec("x", np.dtype(np.float32), ("n", 4)),)
Y = (TensorSpec("y", np.dtype(np.float32), ("n", 4)),)


def measured(path: Path, **more: Any) -> Measured:
    with OrtRuntime(path, threads=1) as runtime:
        return measure(runtime.run_checked, runtime.inputs, runtime.outputs, **more)


def test_rows_that_do_not_depend_on_each_other(tmp_path: Path) -> None:
    assert measured(write_model(tmp_path / "a.onnx", SOFTMAX)).rows == "equal"


def test_rows_that_do(tmp_path: Path) -> None:
    found = measured(write_model(tmp_path / "a.onnx", MIXING))
    assert (found.rows, found.engine.batch_rows) == ("mixed", 1)


def test_no_batches_where_none_are_wanted(tmp_path: Path) -> None:
    found = measured(write_model(tmp_path / "a.onnx", SOFTMAX), max_batch=1)
    assert found.engine.batch_rows == 1


def test_inputs_that_cannot_be_made_up(tmp_path: Path) -> None:
    found = measured(write_model(tmp_path / "a.onnx", TEXT))
    assert (found.engine.inline_rows, found.engine.batch_rows) == (0, 1)


def test_a_model_that_fails_with_its_own_samples() -> None:
    def fail(feed: Feed, names: Sequence[str]) -> list[Array]:
        raise ModelError("it fails")

    with pytest.raises(ModelError):
        measure(fail, X, Y, samples={"x": np.ones((2, 4), np.float32)})
    assert measure(fail, X, Y).engine.batch_rows == 1


@pytest.mark.parametrize(("relative", "rows"), [(0.0, "equal"), (1e-7, "rounded"), (1e-3, "mixed")])
def test_how_much_rounding_is_allowed(relative: float, rows: str) -> None:
    def run(feed: Feed, names: Sequence[str]) -> list[Array]:
        x = feed["x"]
        return [(x * (1 + relative * (len(x) > 1))).astype(np.float32)]

    assert compare_rows(run, X, ["y"], {"x": np.full((1, 4), 1.37, np.float32)}) == rows


@pytest.mark.parametrize(
    ("shape", "free"),
    [(("n", 4), True), ((None, 4), True), ((1, 4), False), ((), False), (None, False)],
)
def test_free_batches(shape: Any, free: bool) -> None:
    spec = TensorSpec("x", np.dtype(np.float32), shape)
    assert has_free_batch((spec,), Y) is free
    assert has_free_batch(X, (spec,)) is free


def test_signal_to_noise() -> None:
    wanted = np.full(4, 10, np.float32)
    assert sqnr_db(wanted, wanted) == float("inf")
    assert sqnr_db(wanted, wanted + 1) == pytest.approx(20)


@pytest.mark.parametrize(
    ("change", "limits", "says"),
    [
        (lambda y: y * 0, {}, "SQNR"),
        (lambda y: y * 0.9, {"min_sqnr": 40}, "40 dB are needed"),
        (lambda y: y[:1], {}, "shape"),
        (lambda y: y / np.zeros_like(y), {}, "NaN or infinite"),
    ],
)
def test_what_is_not_the_same_model(change: Any, limits: dict[str, Any], says: str) -> None:
    samples = {"x": np.arange(1, 9, dtype=np.float32).reshape(2, 4)}
    with np.errstate(divide="ignore", invalid="ignore"), pytest.raises(BudgetError, match=says):
        prove_parity(
            lambda feed, names: [change(feed["x"])],
            lambda feed, names: [feed["x"]],
            samples,
            ["y"],
            model="net 1",
            limits=limits,
        )


def test_whole_numbers_have_to_agree() -> None:
    def run(values: list[int]) -> Any:
        return lambda feed, names: [np.array(values)]

    prove_parity(run([1, 2, 3]), run([1, 2, 4]), {}, ["y"], model="net", limits={})
    with pytest.raises(BudgetError, match="33"):
        prove_parity(run([1, 2, 3]), run([1, 4, 4]), {}, ["y"], model="net", limits={})


def test_nan_for_its_own_samples() -> None:
    with pytest.raises(BudgetError, match="'y' is NaN"):
        require_finite([np.array([1, np.nan], np.float32)], ["y"], "net")
