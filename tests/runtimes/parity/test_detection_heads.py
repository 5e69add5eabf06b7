"""Detectors whose boxes, scores and classes are outputs of their own, in pixels or in parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from runtimes import check
from runtimes.parity.detection_heads import HeadsAccumulator, find_heads
from runtimes.parity.output_error import OutputParity, ParityAccumulator
from runtimes.parity.verdict import Rules, judge

N, BOXES, CLASSES = 12, 30, 5

Outputs = dict[str, Any]


def boxes_of(random: np.random.Generator, *, corners: bool, pixels: bool) -> Any:
    centers, sizes = (
        random.uniform(0.3, 0.7, (N, BOXES, 2)),
        random.uniform(0.1, 0.4, (N, BOXES, 2)),
    )
    pairs = [centers - sizes / 2, centers + sizes / 2] if corners else [centers, sizes]
    return np.float32(np.concatenate(pairs, axis=2) * (320 if pixels else 1))


def suppressed(**form: bool) -> Outputs:
    """As TensorFlow's detectors give them: sorted, padded, with how many count."""
    random = np.random.default_rng(0)
    counts = random.integers(2, 9, N)
    scores = -np.sort(-random.uniform(0.3, 1, (N, BOXES)), axis=1)
    scores[np.arange(BOXES)[None] >= counts[:, None]] = 0
    return {
        "boxes": boxes_of(random, **form),
        "scores": np.float32(scores),
        "classes": np.float32(random.integers(0, CLASSES, (N, BOXES))),
        "count": counts.astype(np.int32),
    }


def unsuppressed(*, softmax: bool, **form: bool) -> Outputs:
    """Scores of every class for every anchor; nearly all anchors see nothing."""
    random = np.random.default_rng(1)
    scores = random.uniform(0, 1e-3, (N, BOXES, CLASSES))
    for sample in range(N):
        for anchor in random.choice(BOXES, 3, replace=False):
            scores[sample, anchor, random.integers(1, CLASSES)] = random.uniform(0.6, 0.9)
    if softmax:
        scores[..., 0] = 1 - scores[..., 1:].sum(axis=2)
    return {"scores": np.float32(scores), "boxes": boxes_of(random, **form)[:, :, None]}


FORMS = [{"corners": c, "pixels": p} for c in (False, True) for p in (False, True)]
DETECTORS = [
    *(pytest.param(suppressed(**form), id=f"suppressed {form}") for form in FORMS),
    *(
        pytest.param(unsuppressed(softmax=softmax, **form), id=f"softmax {softmax} {form}")
        for form in FORMS
        for softmax in (False, True)
    ),
]


def compared(reference: Outputs, candidate: Outputs) -> dict[str, OutputParity]:
    heads = HeadsAccumulator()
    parity = {name: ParityAccumulator(name, "cpu") for name in reference}
    for start in range(0, N, 5):
        rows = slice(start, start + 5)
        expected = {name: values[rows] for name, values in reference.items()}
        found = {name: values[rows] for name, values in candidate.items()}
        for name, one in parity.items():
            one.update(expected[name], found[name], np.arange(N)[rows])
        heads.update(expected, found)
    return {one.output: one for one in heads.judged(p.result() for p in parity.values())}


def moved(outputs: Outputs, by: float) -> Outputs:
    """The boxes moved by a share of their extent."""
    boxes = outputs["boxes"].copy()
    boxes[..., :1] += by * np.abs(boxes).max()
    if (boxes[..., 2:] >= boxes[..., :2]).all():
        boxes[..., 2:3] += by * np.abs(boxes).max()
    return {**outputs, "boxes": boxes}


@pytest.mark.parametrize("outputs", DETECTORS)
def test_the_same_detections_are_found_in_every_style(outputs: Outputs) -> None:
    noisy = moved(outputs, 0.005)
    confident = noisy["scores"] > 0.25
    noisy["scores"] = noisy["scores"] + np.float32(2e-3) * (noisy["scores"] > 0)
    found = compared(outputs, noisy)
    assert {one.kind for one in found.values()} == {"detections"}
    assert {one.agreement for one in found.values()} == {1.0}
    passed, reason = judge(
        list(found.values()), [], Rules(min_agreement=0.99, min_sqnr=20), quantized=True
    )
    assert passed, reason
    assert "detections found again 100.00%" in reason
    lost = {**outputs, "scores": np.where(confident, np.float32(0.01), outputs["scores"])}
    if confident.ndim == 3:
        lost["scores"] = np.where(confident[..., 1:].any(axis=2)[..., None], 0.01, lost["scores"])
        lost["scores"] = np.float32(lost["scores"])
    assert compared(outputs, lost)["boxes"].agreement == 0
    assert compared(outputs, moved(outputs, 0.5))["scores"].agreement < 0.1


def test_order_does_not_count_but_classes_and_counts_do() -> None:
    outputs = suppressed(corners=True, pixels=False)
    first_two = [1, 0, *range(2, BOXES)]
    swapped = {
        name: values if name == "count" else values[:, first_two]
        for name, values in outputs.items()
    }
    found = compared(outputs, swapped)
    assert {one.agreement for one in found.values()} == {1.0}
    assert found["classes"].sqnr_db is None
    passed, reason = judge([found["classes"]], [], Rules(), quantized=False)
    assert (passed, reason) == (True, "classes: 100.00% of the detections are found again")
    others = {**outputs, "classes": (outputs["classes"] + 1) % CLASSES}
    assert (compared(outputs, others)["count"].agreement or 0) < 0.2
    fewer = {**outputs, "count": np.maximum(outputs["count"] - 1, 1)}
    assert 0.5 < (compared(outputs, fewer)["scores"].agreement or 0) < 0.95


def test_the_outputs_of_one_detector_are_found_among_others() -> None:
    outputs = suppressed(corners=True, pixels=False)
    raw = unsuppressed(softmax=True, corners=False, pixels=False)
    random = np.random.default_rng(2)
    both = {
        **{f"detection_{name}": values for name, values in outputs.items()},
        "detection_anchor_indices": np.float32(random.integers(0, 900, (N, BOXES))),
        "raw_boxes": np.tile(raw["boxes"], (1, 4, 1, 1)),
        "raw_scores": np.tile(raw["scores"], (1, 4, 1)),
        "features": np.float32(random.uniform(size=(N, 7))),
    }
    first, second = find_heads(both)
    assert first.outputs == tuple(f"detection_{n}" for n in ("boxes", "scores", "classes", "count"))
    assert second.outputs[:2] == ("raw_boxes", "raw_scores")
    assert (second.background, second.corners) == (0, False)


@pytest.mark.parametrize("kind", ["normal", "uniform", "no scores", "two scores"])
def test_other_outputs_are_no_detectors(kind: str) -> None:
    random = np.random.default_rng(3)
    outputs = suppressed(corners=True, pixels=False)
    if kind == "normal":  # offsets from anchors, say
        outputs["boxes"] = np.float32(random.normal(size=(N, BOXES, 4)))
    elif kind == "uniform":
        outputs["boxes"] = np.float32(random.uniform(size=(N, BOXES, 4)))
    elif kind == "no scores":
        outputs["scores"] = outputs["scores"] * 9
    else:
        outputs["more"] = outputs["scores"] / 2
    assert find_heads(outputs) == []


def test_boxes_in_parts_of_the_image_with_scores_in_one_output() -> None:
    random = np.random.default_rng(4)
    for corners in (False, True):
        boxes = boxes_of(random, corners=corners, pixels=False)
        scores = random.uniform(0.3, 1, (N, BOXES, CLASSES))
        reference = np.float32(np.concatenate([boxes, scores], axis=2))
        found = ParityAccumulator("y", "cpu")
        found.update(reference, reference, np.arange(N))
        assert found.result().kind == "detections"


def test_check_judges_a_graph_by_its_detections(tmp_path: Path) -> None:
    """Detections in another order, as a quantized model may give them, are the same."""
    outputs = suppressed(corners=True, pixels=False)
    for name, order in (("a", slice(None)), ("b", [1, 0, *range(2, BOXES)])):
        nodes, values = [], []
        for key, array in outputs.items():
            if key == "count":
                continue
            table = array.reshape(N, BOXES, -1)[0][order].reshape(1, *array.shape[1:])
            nodes += [
                helper.make_node(
                    "Constant", [], [f"{key}_c"], value=onnx.numpy_helper.from_array(table)
                ),
                helper.make_node(
                    "Mul", [f"{key}_c", "one"] if array.ndim == 2 else [f"{key}_c", "ones"], [key]
                ),
            ]
            values.append(helper.make_tensor_value_info(key, 1, ["N", *array.shape[1:]]))
        axes = onnx.numpy_helper.from_array(np.array([2]), "axes")
        graph = helper.make_graph(
            [helper.make_node("Unsqueeze", ["one", "axes"], ["ones"]), *nodes],
            "g",
            [helper.make_tensor_value_info("one", 1, ["N", 1])],
            values,
            [axes],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        onnx.save(model, tmp_path / f"{name}.onnx")
    data = {"one": np.ones((6, 1), np.float32)}
    report = check(tmp_path / "a.onnx", tmp_path / "b.onnx", data, min_agreement=0.99, min_sqnr=20)
    assert report.passed, report.reason
    assert "classes: detections found again 100.00%" in report.reason
