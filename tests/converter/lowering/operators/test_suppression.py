"""Non-maximum suppression: ties, nothing left, padding, classes with boxes of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


def boxes(*shape: int) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(0)
    middle, size = rng.uniform(0.1, 0.9, (*shape, 2)), rng.uniform(0.05, 0.5, (*shape, 2))
    return np.concatenate([middle - size / 2, middle + size / 2], -1).astype(np.float32)


def scores(*shape: int) -> np.ndarray[Any, Any]:
    """All different: of equal scores in two classes, TensorFlow leaves the order open."""
    count = int(np.prod(shape))
    return (np.random.default_rng(0).permutation(count).reshape(shape) / count).astype(np.float32)


def model_of(keras: Any, call: Any, boxes_shape: Any, scores_shape: Any) -> Any:
    class Suppress(keras.layers.Layer):  # type: ignore[misc]
        def call(self, boxes: Any, scores: Any) -> Any:
            return call(boxes, scores)

    tensors = [keras.Input(boxes_shape), keras.Input(scores_shape)]
    return keras.Model(tensors, Suppress(name="suppress")(*tensors))


SAMPLES = {
    "usual": [boxes(1, 30), scores(1, 30)],
    "ties": [boxes(1, 30), np.round(scores(1, 30), 1)],
    "boxes alike": [np.repeat(boxes(1, 3), 4, 1), np.full((1, 12), 0.7, np.float32)],
    "corners swapped": [boxes(1, 9)[..., [2, 3, 0, 1]], scores(1, 9)],
    "nothing likely": [boxes(1, 4), scores(1, 4) * 0.1],
}


def of_one_image(keras: Any, how: str) -> Any:
    import tensorflow as tf

    limits = {"max_output_size": 10, "iou_threshold": 0.4, "score_threshold": 0.3}

    def call(boxes: Any, scores: Any) -> Any:
        boxes, scores = boxes[0], scores[0]
        if how == "indices":
            return tf.image.non_max_suppression(boxes, scores, 10, 0.4, 0.3)
        if how == "scores":
            return list(tf.image.non_max_suppression_with_scores(boxes, scores, 10, 0.4, 0.3))
        return list(
            tf.raw_ops.NonMaxSuppressionV4(
                boxes=boxes, scores=scores, pad_to_max_output_size=True, **limits
            )
        )

    return model_of(keras, call, (None, 4), (None,))


@pytest.mark.parametrize("how", ["indices", "scores", "padded"])
def test_boxes_of_one_image(keras: Any, parity: Any, how: str) -> None:
    operators = parity(of_one_image(keras, how), list(SAMPLES.values()))
    assert operators["NonMaxSuppression"] == 1


@pytest.mark.slow
def test_tiles_of_boxes_in_loops(keras: Any, parity: Any) -> None:
    """What detectors of KerasHub do on batches, too."""
    import tensorflow as tf

    def call(boxes: Any, scores: Any) -> Any:
        return list(
            tf.image.non_max_suppression_padded(
                boxes, scores, 10, 0.4, 0.3, pad_to_max_output_size=True, tile_size=16
            )
        )

    model = model_of(keras, call, (40, 4), (40,))
    parity(model, [[boxes(1, 40), scores(1, 40)], [boxes(3, 40), scores(3, 40) * 0.35]])


@pytest.mark.sweep(5)
@pytest.mark.parametrize("sets", [1, 3])
@pytest.mark.parametrize("options", [{}, {"pad_per_class": True}, {"clip_boxes": False}])
@pytest.mark.parametrize("total", [7, 60])
def test_classes_together(
    keras: Any, parity: Any, *, sets: int, options: dict[str, bool], total: int
) -> None:
    import tensorflow as tf

    def call(boxes: Any, scores: Any) -> Any:
        return list(
            tf.image.combined_non_max_suppression(boxes, scores, 4, total, 0.4, 0.3, **options)
        )

    model = model_of(keras, call, (None, sets, 4), (None, 3))
    samples = [
        [boxes(1, 20, sets), scores(1, 20, 3)],
        [boxes(3, 11, sets) * 1.5 - 0.2, scores(3, 11, 3)],
        [boxes(2, 5, sets), scores(2, 5, 3) * 0.1],
    ]
    parity(model, samples)


@pytest.mark.parametrize("padded", [False, True])
def test_scores_of_boxes_that_overlap_are_lowered(keras: Any, parity: Any, *, padded: bool) -> None:
    import tensorflow as tf

    def call(boxes: Any, scores: Any) -> Any:
        return list(
            tf.raw_ops.NonMaxSuppressionV5(
                boxes=boxes[0],
                scores=scores[0],
                max_output_size=10,
                iou_threshold=0.3,
                score_threshold=0.25,
                soft_nms_sigma=0.3,
                pad_to_max_output_size=padded,
            )
        )

    model = model_of(keras, call, (None, 4), (None,))
    samples = [SAMPLES[name] for name in ("usual", "corners swapped", "nothing likely")]
    operators = parity(model, [*samples, [boxes(1, 60), scores(1, 60)]])
    assert operators["Loop"] == 1
