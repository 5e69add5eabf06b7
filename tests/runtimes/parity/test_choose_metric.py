"""Labels given are labels used: by the metric that they, the output and the loss mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtimes.base import TensorSpec
from runtimes.data.dataset import Dataset
from runtimes.errors import DataError
from runtimes.keras_models.loss_meaning import Loss, loss_named
from runtimes.parity.choose_metric import Judged, choose_metrics, refuse_other_classes
from runtimes.parity.judged_by import notes_of_choice

RNG = np.random.default_rng(0)
FLOAT = np.dtype(np.float32)
N = 24
CLASSES = RNG.integers(0, 4, N)
YES = RNG.integers(0, 2, N)


def output(*shape: Any, name: str = "y") -> TensorSpec:
    return TensorSpec(name, FLOAT, ("batch", *shape))


def judged(
    *outputs: TensorSpec,
    look: Any = None,
    losses: dict[str, Loss | None] | None = None,
    **labels: Any,
) -> Judged:
    arrays = {name.replace("__", ":"): np.asarray(values) for name, values in labels.items()}
    data = Dataset.open({"x": np.zeros((N, 2), np.float32), **arrays})

    def values(name: str) -> Any:
        assert look is not None, f"the values of {name} were not to be looked at"
        return np.asarray(look, np.float32)

    known = {name: loss for name, loss in (losses or {}).items() if loss is not None}
    return Judged(outputs, data, values, known)


ONE_HOT = np.eye(4)[CLASSES]
LOGITS = RNG.normal(size=(8, 1)) * 4
PROBABILITIES = RNG.uniform(size=(8, 1))


@pytest.mark.parametrize(
    ("shape", "labels", "metric"),
    [
        ((4,), CLASSES, "top1"),
        ((4,), CLASSES[:, None], "top1"),
        ((4,), CLASSES.astype(np.float32), "top1"),
        ((4,), ONE_HOT, "top1"),
        ((4,), ONE_HOT.astype(bool), "top1"),
        ((2,), YES.astype(bool), "top1"),
        ((6, 5, 4), RNG.integers(0, 4, (N, 6, 5)), "top1"),
        ((4, 6, 5), RNG.integers(0, 4, (N, 6, 5)), "top1"),
        ((4, 6, 5), np.moveaxis(np.eye(4)[RNG.integers(0, 4, (N, 6, 5))], -1, 1), "top1"),
        ((1,), RNG.normal(size=N), "r2"),
        ((1,), RNG.normal(size=(N, 1)), "r2"),
        ((1,), RNG.integers(0, 90, N), "r2"),
        ((), RNG.normal(size=N), "r2"),
        ((8, 8, 1), RNG.uniform(size=(N, 8, 8)), "r2"),
    ],
)
def test_shape_and_values_of_labels_say_what_they_are(
    shape: tuple[int, ...], labels: Any, metric: str
) -> None:
    assert choose_metrics(judged(output(*shape), labels=labels)) == (metric,)


@pytest.mark.parametrize("labels", [YES, YES[:, None], YES == 1, YES.astype(np.float32)])
def test_yes_and_no_go_by_what_the_output_holds(labels: Any) -> None:
    for look, metric in (
        (LOGITS, "binary_accuracy_logits"),
        (PROBABILITIES, "binary_accuracy"),
    ):
        assert choose_metrics(judged(output(1), look=look, labels=labels)) == (metric,)


def test_several_answers_at_once_are_accuracies_and_other_columns_quantities() -> None:
    many = RNG.integers(0, 2, (N, 5))
    many[0] = 1
    found = choose_metrics(judged(output(5), look=PROBABILITIES.repeat(5, 1), labels=many))
    assert found == ("binary_accuracy",)
    columns = RNG.normal(size=(N, 5))
    assert choose_metrics(judged(output(5), look=columns, labels=columns)) == ("r2",)
    soft = RNG.dirichlet(np.ones(5), N)
    assert choose_metrics(judged(output(5), look=soft, labels=soft)) == ("top1",)


@pytest.mark.parametrize(
    ("loss", "shape", "labels", "metric"),
    [
        ("mse", (1,), YES, "r2"),
        ("mean_absolute_error", (4,), ONE_HOT, "r2"),
        ("CategoricalCrossentropy", (4,), RNG.dirichlet(np.ones(4), N), "top1"),
        ("binary_crossentropy", (4,), ONE_HOT, "binary_accuracy"),
        ("hinge", (1,), 2 * YES - 1, "binary_accuracy"),
    ],
)
def test_the_loss_of_the_training_goes_before_the_looks(
    loss: str, shape: tuple[int, ...], labels: Any, metric: str
) -> None:
    losses = {"": loss_named(loss)}
    found = choose_metrics(judged(output(*shape), look=PROBABILITIES, losses=losses, labels=labels))
    assert found == (metric,)


def test_logits_that_all_lie_between_0_and_1_are_known_by_the_loss() -> None:
    losses = {"": loss_named("BinaryCrossentropy", True)}
    found = choose_metrics(judged(output(1), look=PROBABILITIES, losses=losses, labels=YES))
    assert found == ("binary_accuracy_logits",)


def test_every_output_with_labels_has_its_metric() -> None:
    outputs = [output(4, name="kind"), output(1, name="size"), output(3, name="extra")]
    found = choose_metrics(judged(*outputs, labels__kind=CLASSES, labels__size=RNG.normal(size=N)))
    assert found == ("top1:kind", "r2:size")
    # Labels without a name are those of the only output that they fit.
    assert choose_metrics(judged(*outputs[:2], labels=RNG.normal(size=N))) == ("r2:size",)


@pytest.mark.parametrize(
    ("outputs", "labels", "message"),
    [
        (
            [output(10, 6)],
            {"labels": RNG.normal(size=(N, 3, 5))},
            r"no metric follows from 'labels'",
        ),
        ([output(4)], {"labels": RNG.normal(size=(N, 7))}, r"\[7\] a sample.*--metric"),
        ([output(4)], {"labels__z": CLASSES}, "'labels:z' belong to no output; the model has 'y'"),
        (
            [output(4, name="a"), output(4, name="b")],
            {"labels": CLASSES},
            "fit the outputs 'a', 'b'; .* 'labels:a'",
        ),
    ],
)
def test_where_none_fits_the_user_is_asked(
    outputs: list[TensorSpec], labels: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        choose_metrics(judged(*outputs, **labels))


def test_a_loss_that_no_metric_measures_is_named() -> None:
    case = judged(
        output(4), losses={"": loss_named("CosineSimilarity")}, labels=RNG.normal(size=(N, 4))
    )
    with pytest.raises(DataError, match="trained with CosineSimilarity; name one with --metric"):
        choose_metrics(case)


def test_names_of_classes_must_be_those_of_the_output() -> None:
    names = np.array(["ant", "bee", "cow"])[CLASSES % 3]
    refuse_other_classes([output(3)], judged(output(3), labels=names).data)
    assert choose_metrics(judged(output(3), labels=names)) == ("top1",)
    with pytest.raises(DataError, match=r"name 3 classes .*'y' has 4: which is which"):
        refuse_other_classes([output(4)], judged(output(4), labels=names).data)
    two = np.array(["no", "yes"])[YES]
    refuse_other_classes([output(1)], judged(output(1), labels=two).data)


def test_folders_of_images_need_not_be_labels(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="needs Pillow")
    for place in range(4):
        (tmp_path / "ab"[place % 2]).mkdir(exist_ok=True)
        image.new("RGB", (4, 4)).save(tmp_path / "ab"[place % 2] / f"{place}.png")
    data = Dataset.open(tmp_path)

    def found(*shape: int) -> tuple[str, ...]:
        return choose_metrics(Judged([output(*shape)], data, lambda _: np.zeros((1, *shape)), {}))

    assert found(2) == ("top1",)
    assert found(7, 7, 64) == ()
    (note,) = notes_of_choice(None, data)
    assert "are no labels of this model's output" in note
    assert notes_of_choice(None, data.without_labels()) == ()
