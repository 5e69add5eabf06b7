"""When requests can share a run, and what a warm-up runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from bundles import make_model_with_data

from converter.packaging.signature import copy_model, read_signature, warmup_sample
from runtimes.base import TensorSpec
from runtimes.errors import DataError

pytestmark = pytest.mark.fast

Saved = Callable[[ir.Model], Path]
Graph = Callable[[str], ir.Model]


@pytest.mark.parametrize(
    ("graph_text", "is_batched"),
    [
        ("(float[b, 4] x) => (float[b, 4] y) { y = Relu(x) }", True),
        ("(float[b] x) => (float[b] y) { y = Relu(x) }", True),
        ("(float[b, t] x) => (float[b, t] y) { y = Relu(x) }", True),
        ("(float[1, 4] x) => (float[1, 4] y) { y = Relu(x) }", False),
        ("(float[b, 4] x) => (float y) { y = ReduceSum <keepdims = 0> (x) }", False),
        ("(float[b, 4] x, float[c, 4] z) => (float[b, 4] y) { y = Relu(x) }", False),
        ("(float[b, 4] x, float[4] z) => (float[b, 4] y) { y = Add(x, z) }", False),
        (
            "(float[b, 4] x) => (float[b, b] y) { t = Transpose(x) y = MatMul(x, t) }",
            False,
        ),
    ],
)
def test_samples_stack_where_all_share_the_first_axis(
    graph: Graph, saved: Saved, graph_text: str, is_batched: bool
) -> None:
    assert read_signature(saved(graph(f"g {graph_text}"))).is_batched is is_batched


def test_a_rank_that_is_not_known_is_refused(graph: Graph, saved: Saved) -> None:
    model = graph("g (float[b, 4] x) => (float[b, 4] y) { y = Relu(x) }")
    model.graph.outputs[0].shape = None
    with pytest.raises(DataError, match="the rank of 'y' is not known"):
        read_signature(saved(model))


def test_weights_next_to_the_model_come_along(tmp_path: Path) -> None:
    model = make_model_with_data(tmp_path / "model.onnx", "weights/part.data")
    signature = read_signature(model)
    copy_model(model, tmp_path / "copy", signature)
    assert signature.weights == ("weights/part.data",)
    for name in ("model.onnx", "weights/part.data"):
        assert (tmp_path / "copy" / name).read_bytes() == (tmp_path / name).read_bytes()


def spec(shape: tuple[int | str | None, ...], name: str = "x") -> TensorSpec:
    return TensorSpec(name, np.dtype(np.float32), shape)


def test_a_warm_up_is_one_sample(tmp_path: Path) -> None:
    file = tmp_path / "warmup.npz"
    np.savez(file, x=np.arange(12, dtype=np.float32).reshape(3, 4), z=np.ones(3, np.float32))
    found = warmup_sample(file, [spec(("b", 4)), spec(("b",), "z")])
    assert found is not None
    assert found["x"].tolist() == [[0, 1, 2, 3]]
    assert found["z"].tolist() == [1]
    fixed = warmup_sample(file, [spec((2, 4))])
    assert fixed is not None
    assert fixed["x"].shape == (2, 4)


@pytest.mark.parametrize("inputs", [[spec(("b", 5))], [spec(("b", 4), "other")], [spec((9, 4))]])
def test_samples_that_do_not_fit_warm_nothing_up(tmp_path: Path, inputs: list[TensorSpec]) -> None:
    file = tmp_path / "warmup.npz"
    np.savez(file, x=np.ones((3, 4), np.float32))
    assert warmup_sample(file, inputs) is None


def test_samples_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "warmup.npz"
    file.write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(DataError, match=r"warmup.npz of the bundle cannot be read"):
        warmup_sample(file, [spec(("b", 4))])
