"""Kernels are named by what they do alone, and known by the nodes that they came from."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from runtimes.costs.kernels import trace_kernels


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.fixture
def dense(graph: Any) -> Callable[..., ir.Model]:
    """Two dense layers with a ReLU between, by names of nodes."""

    def make(first: str = "hidden", second: str = "active", third: str = "out") -> ir.Model:
        body = f"""
            [{first}] h = Gemm (x, w, b)
            [{second}] a = Relu (h)
            [{third}] y = Gemm (a, v, b)
        """
        weights = {"w": normal(32, 16), "v": normal(16, 16), "b": normal(16)}
        return graph("(float[N, 32] x) => (float[N, 16] y)", body, **weights)

    return make


def test_what_was_fused_is_found_again(dense: Any) -> None:
    kernels = trace_kernels(dense(), {"x": normal(1, 32)})
    assert [one.origins for one in kernels] == [("hidden", "active"), ("out",)]


def test_the_signature_holds_shapes_and_not_names(dense: Any) -> None:
    one = trace_kernels(dense(), {"x": normal(1, 32)})
    other = trace_kernels(dense("first", "second", "third"), {"x": normal(1, 32)})
    assert [a.kernel.signature for a in one] == [b.kernel.signature for b in other]
    assert "float[1x32], =float[32x16], =float[16]" in one[0].kernel.signature
    larger = trace_kernels(dense(), {"x": normal(8, 32)})
    assert one[0].kernel.signature != larger[0].kernel.signature


def test_the_weights_of_equal_kernels_are_kept_once(graph: Any) -> None:
    body = "a = MatMul (x, w)\nb = MatMul (a, v)\ny = MatMul (b, w)"
    weights = {"w": normal(16, 16), "v": 2 * normal(16, 16)}
    made = graph("(float[N, 16] x) => (float[N, 16] y)", body, **weights)
    first, *others = trace_kernels(made, {"x": normal(1, 16)})
    assert first.kernel.node is not None
    assert len(others) == 2
    assert all(one.kernel is first.kernel for one in others)


def test_attributes_make_another_kernel(graph: Any) -> None:
    found = set()
    for stride in (1, 2):
        body = f"y = Conv <strides = [{stride}, {stride}]> (x, w)"
        made = graph("(float[1, 8, 8, 8] x) => (float[1, 8, n, m] y)", body, w=normal(8, 8, 3, 3))
        kernels = trace_kernels(made, {"x": normal(1, 8, 8, 8)})
        found |= {one.kernel.signature for one in kernels if one.kernel.op_type == "Conv"}
    assert len(found) == 2


def test_small_constants_of_integers_count(graph: Any) -> None:
    found = set()
    for axis in (0, 1):
        body = "y = ReduceSum <keepdims = 1> (x, axes)"
        made = graph("(float[4, 4] x) => (float[n, m] y)", body, axes=np.array([axis]))
        (kernel,) = trace_kernels(made, {"x": normal(4, 4)})
        found.add(kernel.kernel.signature)
    assert len(found) == 2


@pytest.mark.parametrize(
    ("body", "steered"),
    [
        ("y = Relu (x)", []),
        ("i = Cast <to = 7> (x)\n y = Gather (x, i)", []),
        ("s = Shape (x)\n r = Cast <to = 1> (s)\n i = Cast <to = 7> (r)\n y = Expand (x, i)",
         ["Expand"]),
    ],
)  # fmt: skip
def test_what_integers_steer_cannot_be_isolated(graph: Any, body: str, steered: list[str]) -> None:
    made = graph("(float[N] x) => (float[m] y)", body)
    kernels = trace_kernels(made, {"x": np.zeros(3, np.float32)})
    found = [one.kernel for one in kernels if not one.kernel.can_be_isolated]
    assert [kernel.op_type for kernel in found if kernel.op_type != "Cast"] == steered
