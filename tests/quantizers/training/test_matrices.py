"""Matrices: which they are, and that steps go along all of their directions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from quantizers.training.matrices import along_all, matrices_of
from quantizers.training.optimizer import Adam

Build = Callable[..., ir.Model]


def ones(*shape: int) -> Any:
    return np.ones(shape, np.float32)


@pytest.mark.parametrize(
    "shape", [(12, 40), (40, 12), (12, 4, 3, 3)], ids=["wide", "tall", "kernels"]
)
def test_all_directions_of_a_step_are_about_as_long(keras: Any, shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    rows = random.standard_normal((shape[0], int(np.prod(shape[1:]))))
    rows *= np.linspace(1, 20, len(rows))[:, None]
    step = along_all(np.reshape(rows, shape).astype(np.float32)).numpy()
    assert step.shape == shape
    found = np.linalg.svd(step.reshape(rows.shape), compute_uv=False)
    assert found.max() / found.min() < 3
    assert np.sqrt(np.mean(step**2)) == pytest.approx(0.2, rel=0.3)
    assert np.vdot(step, rows.reshape(shape)) > 0


def test_dense_layers_and_convolutions_of_one_group_have_matrices(graph: Build) -> None:
    found = graph(
        "(float[N,8,6,6] x) => (float[N,8,6,6] y)",
        """a = Conv <pads = [1, 1, 1, 1]> (x, full)
        b = Conv <pads = [1, 1, 1, 1], group = 8> (a, depthwise)
        y = MatMul (b, dense)""",
        full=ones(8, 8, 3, 3),
        depthwise=ones(8, 1, 3, 3),
        dense=ones(6, 6),
    )
    assert matrices_of(found) == {"full", "dense"}


def test_what_would_take_longer_than_its_layer_is_none(graph: Build) -> None:
    found = graph(
        "(float[N,600] x) => (float[N,600] y)", "y = MatMul (x, large)", large=ones(600, 600)
    )
    assert not matrices_of(found)


def test_only_what_is_named_learns_as_a_matrix(keras: Any) -> None:
    initial = {name: np.eye(4, dtype=np.float32) for name in ("plain", "matrix")}
    adam = Adam(initial, rate=0.1, steps=40, warmup=1, matrices={"matrix"})
    gradient = {"plain": np.ones((4, 4)), "matrix": np.diag([1.0, 1.0, 1.0, 10.0])}
    row = np.concatenate([gradient[name].reshape(-1) for name in ("matrix", "plain")])
    adam.apply(row.astype(np.float32), adam.settings())
    learned = {name: array.numpy() - np.eye(4) for name, array in adam.named(adam.learned).items()}
    np.testing.assert_allclose(learned["plain"], learned["plain"][0, 0], rtol=1e-5)
    moved = -np.diag(learned["matrix"])
    assert moved.min() > 0
    assert moved.max() / moved.min() < 3
    np.testing.assert_allclose(learned["matrix"] - np.diag(-moved), 0, atol=1e-6)
