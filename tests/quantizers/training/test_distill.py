"""Distillation: a student learns from its teacher, without labels, the same every time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from quantizers.training import step
from quantizers.training.distill import Distiller, TrainingStopped, distill
from quantizers.training.options import DistillOptions
from quantizers.training.pool import Augmentation, Group, in_batches, shuffled
from quantizers.training.targets import targets_of
from quantizers.training.write import with_values
from runtimes.data.dataset import Dataset
from runtimes.engines.ort import OrtRuntime
from runtimes.errors import DataError, ModelError, UnsupportedOperator
from runtimes.onnx_files.load_save import model_inputs

Build = Callable[..., ir.Model]
SIGNATURE = "(float[N, 6] x) => (float[N, 3] y)"
BODY = "h = MatMul(x, A) hb = Add(h, B) r = Relu(hb) z = MatMul(r, C) y = Softmax(z)"
BRIEF = DistillOptions(steps=120, pool=512)


def arrays(seed: int = 0) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    shapes = {"A": (6, 16), "B": (16,), "C": (16, 3)}
    return {name: random.standard_normal(s).astype(np.float32) for name, s in shapes.items()}


@pytest.fixture
def teacher(graph: Build) -> ir.Model:
    return graph(SIGNATURE, BODY, **arrays())


@pytest.fixture
def student(teacher: ir.Model) -> ir.Model:
    random = np.random.default_rng(1)
    spoiled = {
        name: array + 0.3 * random.standard_normal(array.shape).astype(np.float32)
        for name, array in arrays().items()
    }
    return with_values(teacher, spoiled)


@pytest.fixture
def data(teacher: ir.Model) -> Dataset:
    x = np.random.default_rng(2).standard_normal((128, 6)).astype(np.float32)
    return Dataset.open({"x": x}, inputs=model_inputs(teacher))


def outputs(model: ir.Model) -> Any:
    x = np.random.default_rng(3).standard_normal((64, 6)).astype(np.float32)
    with OrtRuntime(model) as runtime:
        return runtime.run({"x": x})["y"]


def weights(model: ir.Model) -> dict[str, bytes]:
    return {
        name: value.const_value.tobytes()
        for name, value in model.graph.initializers.items()
        if value.const_value is not None
    }


def test_a_student_comes_nearer_to_its_teacher(
    student: ir.Model, teacher: ir.Model, data: Dataset
) -> None:
    before, learned = weights(student), weights(teacher)
    found = distill(student, teacher, data, options=BRIEF)
    assert found.after < 0.25 * found.before
    wanted = outputs(teacher)
    assert np.square(outputs(found.model) - wanted).mean() < 0.5 * (
        np.square(outputs(student) - wanted).mean()
    )
    assert [node.op_type for node in found.model.graph] == [node.op_type for node in student.graph]
    assert weights(student) == before
    assert weights(teacher) == learned


def test_the_same_seed_learns_the_same(student: ir.Model, teacher: ir.Model, data: Dataset) -> None:
    options = replace(BRIEF, steps=20)
    first = distill(student, teacher, data, options=options)
    distiller = Distiller(teacher, data, options=options)
    distiller.train(teacher, 5)  # what was trained before changes nothing
    assert weights(distiller.train(student).model) == weights(first.model)
    other = distill(student, teacher, data, options=replace(options, seed=1))
    assert weights(other.model) != weights(first.model)


def test_going_on_learns_what_starting_from_there_learns(
    student: ir.Model, teacher: ir.Model, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan's next round uses what was traced for the last one."""
    made: list[Any] = []
    begun = step.Training.__init__
    monkeypatch.setattr(
        step.Training, "__init__", lambda self, *rest: (made.append(self), begun(self, *rest))[1]
    )
    distiller = Distiller(teacher, data, options=BRIEF)
    first = distiller.train(student, 20)
    further = distiller.train(first.model, 30, after=20)
    assert len(made) == 1
    anew = Distiller(teacher, data, options=BRIEF).train(first.model, 30, after=20)
    assert len(made) == 2
    assert (further.steps, further.before) == (anew.steps, anew.before)
    assert weights(further.model) == weights(anew.model)
    anew = Distiller(teacher, data, options=BRIEF)
    later = distiller.train(further.model, 20, after=1500)  # with other batches, so traced anew
    assert weights(later.model) == weights(anew.train(further.model, 20, after=1500).model)
    assert len(made) == 4


def test_what_came_of_it_is_measured_on_all_that_is_held_out(
    student: ir.Model, teacher: ir.Model, data: Dataset
) -> None:
    distiller = Distiller(teacher, data, options=replace(BRIEF, steps=20))
    found = distiller.train(student)
    again = distiller.train(found.model, 1)
    assert found.steps
    assert again.before == pytest.approx(found.after, rel=1e-5)


def test_what_looked_best_is_kept_whatever_came_later(
    student: ir.Model, teacher: ir.Model, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter([5.0, 3.0, 1.0, 2.0])
    seen: list[Any] = []

    def some(training: step.Training, groups: Any) -> float:
        if groups is not training._some:
            return measured(training, groups)
        seen.append(training.values())
        return next(looks, 4.0)

    measured = step.Training._error_on
    monkeypatch.setattr(step.Training, "_error_on", some)
    found = distill(student, teacher, data, options=replace(BRIEF, steps=20))
    assert found.steps == 6
    for name, array in seen[2].items():
        value = found.model.graph.initializers[name].const_value
        assert value is not None
        np.testing.assert_array_equal(value.numpy(), array)


def test_what_is_held_out_is_changed_and_never_learned_from(teacher: ir.Model) -> None:
    x = np.random.default_rng(2).standard_normal((128, 6)).astype(np.float32)
    data = Dataset.open({"x": x}, inputs=model_inputs(teacher))
    distiller = Distiller(teacher, data, options=BRIEF)
    found = [
        np.concatenate([batch.feed["x"] for batch in distiller.held_out().batches(64)])
        for _ in range(2)
    ]
    np.testing.assert_array_equal(*found)
    whole = (found[0][:, None] == x[None]).all(2)
    assert len(found[0]) >= 512
    assert 0.1 < whole.any(1).mean() < 0.5  # the others are mixed
    assert whole.any(0).sum() == 16


def test_a_table_that_is_looked_up_learns(graph: Build) -> None:
    random = np.random.default_rng(0)
    table = random.standard_normal((12, 8)).astype("f4")
    weight = random.standard_normal((8, 3)).astype("f4")
    body = "g = Gather(T, i) m = ReduceMean<keepdims = 0>(g, axes) y = MatMul(m, C)"
    teacher = graph(
        "(int64[N, 5] i) => (float[N, 3] y)",
        body,
        T=table,
        C=weight,
        axes=np.array([1]),
    )
    student = with_values(teacher, {"T": table + 0.5 * random.standard_normal((12, 8))})
    tokens = random.integers(0, 12, (96, 5))
    data = Dataset.open({"i": tokens}, inputs=model_inputs(teacher))
    found = distill(student, teacher, data, options=BRIEF)
    assert found.after < 0.25 * found.before


def test_codes_get_no_larger_than_the_largest(graph: Build) -> None:
    """A weight may have few levels, so that sums of 16 bits do not saturate."""
    random = np.random.default_rng(0)
    weight = random.standard_normal((6, 3)).astype("f4")
    signature = "(float[N, 6] x) => (float[N, 3] y)"
    teacher = graph(signature, "y = MatMul(x, W)", W=4 * weight)
    step_size = np.float32(np.abs(weight).max() / 63)
    codes = np.rint(weight / step_size).astype(np.int8)
    body = "w = DequantizeLinear(C, S) y = MatMul(x, w)"
    student = graph(signature, body, C=codes, S=step_size)
    x = random.standard_normal((128, 6)).astype("f4")
    data = Dataset.open({"x": x}, inputs=model_inputs(teacher))
    found = distill(student, teacher, data, options=BRIEF)
    assert 0 < found.after < found.before
    trained = found.model.graph.initializers["C"].const_value
    assert trained is not None
    assert np.abs(trained.numpy().astype(int)).max() == 63


def test_a_perfect_student_stays_as_it_is(teacher: ir.Model, data: Dataset) -> None:
    found = distill(teacher, teacher, data, options=replace(BRIEF, steps=10))
    assert found.steps == 0
    assert found.model is teacher
    assert found.before == found.after == pytest.approx(0.0, abs=1e-9)


def test_a_rate_that_ends_in_nan_keeps_what_was_best(
    student: ir.Model, teacher: ir.Model, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step, "_RATE_BY_ERROR", 1e30)
    found = distill(student, teacher, data, options=replace(BRIEF, rate=1e30, steps=20))
    assert found.model is student
    assert "NaN" in found.reason


def test_a_student_that_is_nearly_right_takes_small_steps(
    student: ir.Model, teacher: ir.Model, data: Dataset
) -> None:
    """A rate that suits a wrong student throws a nearly right one off."""
    nearly = distill(student, teacher, data, options=replace(BRIEF, steps=300)).model
    found = distill(nearly, teacher, data, options=replace(BRIEF, rate=1.0, steps=40))
    assert 0 < found.after <= found.before
    moved = [
        np.abs(np.frombuffer(after, "f4") - np.frombuffer(before, "f4")).max()
        for before, after in zip(
            weights(nearly).values(), weights(found.model).values(), strict=True
        )
    ]
    assert max(moved) < 1.0


class CtrlC:
    """A user who presses it when so many steps are done."""

    def __init__(self, done: int) -> None:
        self.at = done
        self.stages: list[str] = []

    def __call__(self, stage: str, done: int = 0, total: int | None = None) -> None:
        self.stages.append(stage)
        if stage == "training" and done >= self.at:
            raise KeyboardInterrupt


def test_ctrl_c_ends_the_program(student: ir.Model, teacher: ir.Model, data: Dataset) -> None:
    with pytest.raises(KeyboardInterrupt):
        distill(student, teacher, data, options=BRIEF, progress=CtrlC(30))


def test_ctrl_c_keeps_the_best_where_that_was_asked_for(
    student: ir.Model, teacher: ir.Model, data: Dataset
) -> None:
    said = CtrlC(60)
    options = replace(BRIEF, keep_best=True)
    distiller = Distiller(teacher, data, options=options, progress=said)
    found = distiller.train(student)
    assert 0 < found.steps < 60
    assert found.after < found.before
    assert "stopped with Ctrl-C" in found.reason
    assert "Ctrl-C again" in said.stages[-1]
    assert distiller.stopped
    with pytest.raises(TrainingStopped):  # the user has waited enough
        distiller.train(student)


def test_too_few_samples_are_refused(student: ir.Model, teacher: ir.Model, data: Dataset) -> None:
    with pytest.raises(DataError, match=r"holds 63 samples.*at least 64"):
        distill(student, teacher, data.take(63))


def test_another_teacher_is_refused(graph: Build, student: ir.Model, data: Dataset) -> None:
    other = graph("(float[N, 6] x) => (float[N, 3] z)", "z = MatMul(x, A)", A=np.ones((6, 3), "f4"))
    with pytest.raises(ModelError, match="outputs are 'z' and the model's are 'y'"):
        distill(student, other, data)


def test_an_operator_without_gradient_is_named(
    graph: Build, teacher: ir.Model, data: Dataset
) -> None:
    body = "h = MatMul(x, A) d = Det(h3) y = Add(h, d)".replace("h3", "h")
    student = graph("(float[N, 6] x) => (float[N, 3] y)", body, A=np.ones((6, 3), "f4"))
    with pytest.raises(UnsupportedOperator, match="Det"):
        distill(student, teacher, data)


def test_what_goes_into_a_softmax_is_compared(student: ir.Model, teacher: ir.Model) -> None:
    (target,) = targets_of(student, teacher)
    assert (target.output, target.student, target.teacher, target.is_logits) == (
        "y",
        "z",
        "z",
        True,
    )


def test_mixed_samples_lie_between_two(data: Dataset) -> None:
    whole = np.concatenate([batch.feed["x"] for batch in data.batches(64)])
    (mixed,) = list(Augmentation(data, seed=3).batches(100))
    equal = (mixed.feed["x"] == whole).all(axis=1)
    assert 0.1 < equal.mean() < 0.45  # a quarter is as it was
    assert (mixed.feed["x"].min(axis=0) >= whole.min(axis=0) - 1e-5).all()
    again = next(iter(Augmentation(data, seed=3).batches(100)))
    assert (again.feed["x"] == mixed.feed["x"]).all()
    other = next(iter(Augmentation(data, seed=3).batches(100, draw=1)))
    assert (other.feed["x"] != mixed.feed["x"]).any()


def test_codes_and_masks_are_not_mixed(graph: Build) -> None:
    model = graph(
        "(int64[N] i, float[N, 2] m) => (float[N, 2] y)",
        "g = Gather(T, i) y = Mul(g, m)",
        T=np.ones((9, 2), "f4"),
    )
    random = np.random.default_rng(0)
    arrays = {"i": random.integers(0, 9, 80), "m": random.integers(0, 2, (80, 2)).astype("f4")}
    data = Dataset.open(arrays, inputs=model_inputs(model))
    (batch,) = list(Augmentation(data).batches(80))
    assert set(np.unique(batch.feed["m"])) <= {0.0, 1.0}
    assert (batch.feed["i"] == arrays["i"]).all()


def test_every_sample_is_learned_from_once_an_epoch() -> None:
    group = Group({"x": np.arange(10)}, {"y": np.arange(10)})
    seen = [part.feed["x"] for part in shuffled([group], 3, np.random.default_rng(0))]
    assert [len(part) for part in seen] == [3, 3, 3]
    assert len(set(np.concatenate(seen).tolist())) == 9
    assert [rows.tolist() for rows in in_batches(2, 5)] == [[0, 1, 0, 1, 0]]
