"""Fewer samples a step where each holds thousands of answers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from quantizers.training.amount import answers_in, suited_to
from quantizers.training.options import DistillOptions
from runtimes.data.dataset import Dataset
from runtimes.onnx_files.load_save import model_inputs

Build = Callable[..., ir.Model]
PIXELS = "(float[N, 1, H, W] x) => (float[N, 1, H, W] y)"


def options_for(model: ir.Model, side: int) -> tuple[int, int]:
    x = np.zeros((4, 1, side, side), np.float32)
    found = suited_to(DistillOptions(), model, Dataset.open({"x": x}, inputs=model_inputs(model)))
    return found.batch_size, found.pool


@pytest.mark.parametrize(
    ("shape", "answers"),
    [((10,), 1), ((), 1), ((64, 64, 1), 4096), ((3, 64, 64), 4096), ((128, 16), 128), ((0,), 1)],
)
def test_the_shortest_axis_holds_classes(shape: tuple[int, ...], answers: int) -> None:
    assert answers_in(shape) == answers


def test_pixels_need_fewer_samples(graph: Build) -> None:
    model = graph(PIXELS, "y = Relu(x)")
    assert options_for(model, 8) == (64, 4096)
    assert options_for(model, 64) == (16, 1024)
    assert options_for(model, 128) == (16, 1024)


def test_the_output_with_the_fewest_answers_counts(graph: Build) -> None:
    signature = "(float[N, 1, H, W] x) => (float[N, 1, H, W] y, float[N, 1] z)"
    body = "y = Relu(x) m = GlobalAveragePool(x) z = Flatten(m)"
    assert options_for(graph(signature, body), 64) == (64, 4096)
