"""``recover``: a damaged file learns from the one it was made from; wrong input is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

from converter import convert, recover
from quantizers import quantize
from runtimes.errors import DataError, ModelError
from runtimes.onnx_files.load_save import load_model, save_model

Kilnx = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def teacher(digits_model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("teacher") / "model.onnx"
    convert(digits_model, path)
    return path


@pytest.fixture(scope="module")
def damaged(teacher: Path) -> ir.Model:
    """The same graph with noise on all of its weights."""
    model = load_model(teacher)
    random = np.random.default_rng(0)
    for value in model.graph.initializers.values():
        array = value.const_value.numpy() if value.const_value else np.zeros(0)
        if array.dtype == np.float32 and array.ndim > 1:
            noise = 0.6 * array.std() * random.standard_normal(array.shape)
            value.const_value = ir.tensor((array + noise).astype("f4"), name=value.name)
    return model


def accuracy(path: Path, samples: dict[str, Any]) -> float:
    (scores,) = onnxruntime.InferenceSession(path).run(None, {"image": samples["image"]})
    return float(np.mean(np.argmax(scores, axis=1) == samples["labels"]))


def test_what_was_lost_comes_back(
    teacher: Path, damaged: ir.Model, digits: Any, tmp_path: Path
) -> None:
    train, test = digits
    before, after = tmp_path / "before.onnx", tmp_path / "after.onnx"
    save_model(damaged, before)
    unlabelled = {"image": train["image"]}
    report = recover(
        before,
        after,
        unlabelled,
        teacher=teacher,
        evaluate_on=test,
        training_steps=250,
        max_drop=0.05,
    )
    assert report.kept
    assert report.error_after < 0.3 * report.error_before
    assert accuracy(after, test) > accuracy(before, test) + 0.05
    nodes = [[(n.op_type, n.name) for n in load_model(p).graph] for p in (before, after)]
    assert nodes[0] == nodes[1]
    assert report.passed == report.after["passed"]
    json.dumps(report.to_dict())


def test_int8_learns_through_its_rounding(teacher: Path, digits: Any, tmp_path: Path) -> None:
    train, test = digits
    int8, after = tmp_path / "int8.onnx", tmp_path / "after.onnx"
    quantize(teacher, int8, train, evaluate_on=test, max_drop=0.5, stress="none")
    report = recover(
        int8, after, train, teacher=teacher, evaluate_on=test, training_steps=30, stress="none"
    )
    kinds = [node.op_type for node in load_model(after).graph]
    assert kinds == [node.op_type for node in load_model(int8).graph]
    assert report.error_after <= report.error_before


def test_the_command_says_what_it_did(
    kilnx: Kilnx, teacher: Path, damaged: ir.Model, digits: Any, tmp_path: Path
) -> None:
    train, _ = digits
    source, data = tmp_path / "source.onnx", tmp_path / "data.npz"
    save_model(damaged, source)
    np.savez(data, **train)
    arguments = ["--teacher", teacher, "--data", data, "-o", tmp_path / "out.onnx"]
    code, out, err = kilnx(
        "recover", source, *arguments, "--training-steps", 20, "--stress", "none"
    )
    assert code in {0, 1}, err
    assert "error" in out
    assert (tmp_path / "out.onnx").exists()
    code, _, err = kilnx("recover", source, *arguments, "--training-steps", 20)
    assert code == 2
    assert "is an existing file" in err


@pytest.fixture
def ctrl_c() -> Callable[..., None]:
    """Progress to a user who presses it in the middle of training."""

    def press(stage: str, done: int = 0, total: int | None = None) -> None:
        if stage == "training" and done >= 15:
            raise KeyboardInterrupt

    return press


def test_ctrl_c_writes_nothing_unless_that_was_asked_for(
    teacher: Path, damaged: ir.Model, digits: Any, tmp_path: Path, ctrl_c: Callable[..., None]
) -> None:
    train, test = digits
    out = tmp_path / "out.onnx"
    more: dict[str, Any] = {"teacher": teacher, "evaluate_on": test, "stress": "none"}
    more |= {"training_steps": 60, "progress": ctrl_c}
    with pytest.raises(KeyboardInterrupt):
        recover(damaged, out, train, **more)
    assert list(tmp_path.iterdir()) == []
    report = recover(damaged, out, train, keep_best=True, **more)
    assert report.kept
    assert 0 < report.steps <= 15
    assert "stopped with Ctrl-C" in report.reason
    assert out.exists()


def test_the_option_of_the_command_arrives(
    kilnx: Kilnx, teacher: Path, digits: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data.npz"
    np.savez(data, **digits[0])
    given = []

    def seen(*_: Any, options: Any, **__: Any) -> None:
        given.append(options.keep_best)
        raise KeyboardInterrupt

    monkeypatch.setattr("converter.compression.recover.distill", seen)
    arguments = ["recover", teacher, "--teacher", teacher, "--data", data, "--stress", "none"]
    for option in ((), ("--keep-best",)):
        code, _, err = kilnx(*arguments, "-o", tmp_path / "out.onnx", *option)
        assert code == 130
        assert "interrupted" in err
    assert given == [False, True]


def test_too_few_samples_are_said(
    teacher: Path, damaged: ir.Model, digits: Any, tmp_path: Path
) -> None:
    train, test = digits
    few = {name: array[:63] for name, array in train.items()}
    with pytest.raises(DataError, match="63 samples"):
        recover(damaged, tmp_path / "x.onnx", few, teacher=teacher, evaluate_on=test)
    assert not (tmp_path / "x.onnx").exists()


def test_a_teacher_of_another_model_is_said(damaged: ir.Model, digits: Any, tmp_path: Path) -> None:
    other = ir.from_onnx_text(
        '<ir_version: 9, opset_import: ["" : 18]> '
        "g (float[N, 4] a) => (float[N, 4] b) {b = Relu(a)}"
    )
    with pytest.raises(ModelError, match="the teacher's inputs are a and the model's are image"):
        recover(damaged, tmp_path / "x.onnx", digits[0], teacher=other)
