"""Which inputs index a table."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from runtimes.onnx_graph.lookups import looked_up_inputs

Make = Callable[..., ir.Model]
TABLE = {
    "table": np.arange(8, dtype=np.float32).reshape(4, 2),
    "one": np.ones(1, np.int64),
}


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ("y = Gather(table, a)", {"a"}),
        ("c = Cast<to=6>(a) d = Unsqueeze(c, one) y = Gather(table, d)", {"a"}),
        ("c = Add(a, b) y = Gather(table, c)", {"a", "b"}),
        ("m = Less(b, one) c = Where(m, a, a) y = Gather(table, c)", {"a"}),
        ("t = Transpose(table) y = Gather(t, a)", {"a"}),
        # near-misses: a step is picked, a shape is made, a number is a number
        ("r = Cast<to=1>(b) y = Gather(r, a)", set()),
        ("c = Cast<to=1>(a) d = Cast<to=1>(b) y = Mul(c, d)", set()),
        ("s = Shape(a) y = Gather(table, s)", set()),
        ("r = Reshape(one, a) y = Gather(table, r)", set()),
    ],
)
def test_indices_are_found_behind_what_leaves_them_indices(
    graph: Make, nodes: str, expected: set[str]
) -> None:
    used = {name: array for name, array in TABLE.items() if name in nodes}
    model = graph("(int64[n] a, int64[n] b) => (float[m, k] y)", nodes, **used)
    assert looked_up_inputs(model) == expected
