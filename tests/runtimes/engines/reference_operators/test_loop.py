"""Loop and old BatchNormalization in the reference evaluator, held against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx.parser
import onnx_ir as ir
import pytest

from runtimes.engines.ort import OrtRuntime
from runtimes.engines.reference import ReferenceRuntime

X = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
BODY = """body = b (int64 i, bool c, float[3, 4] v)
    => (bool d, float[3, 4] w, float[3, 4] s, float m) {
  w = Mul (v, x)
  s = Neg (w)
  m = ReduceMax <keepdims = 0> (s)
  z = Constant <value = float {50}> ()
  d = Less (m, z)
}"""


def on_both(model: ir.Model, **feed: Any) -> tuple[list[Any], list[Any]]:
    found = []
    for runtime in (ReferenceRuntime(model), OrtRuntime(model)):
        with runtime:
            found.append(list(runtime.run(feed).values()))
    return found[0], found[1]


def read(text: str, opset: int = 17) -> ir.Model:
    header = f'<ir_version: 8, opset_import: ["" : {opset}]>'
    return ir.from_proto(onnx.parser.parse_model(header + text))


@pytest.mark.parametrize("given", ["n, yes", "n,", ", yes"])
def test_loops_go_on_as_they_are_told(given: str) -> None:
    model = read(
        f"""g (float[3, 4] x) => (float[3, 4] w, float[k, 3, 4] s, float[k] m)
        <int64 n = {{3}}, bool yes = {{1}}> {{ w, s, m = Loop ({given}, x) <{BODY}> }}"""
    )
    ours, theirs = on_both(model, x=X * 2)
    assert [array.shape for array in ours] == [array.shape for array in theirs]
    for own, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-6)


@pytest.mark.parametrize("opset", [7, 9, 13, 15])
def test_batches_are_normalized_by_what_was_learned(opset: int) -> None:
    model = read(
        """g (float[n, 4] x) => (float[n, 4] y)
        <float[4] s = {1, 2, 3, 4}, float[4] v = {1, 2, 3, 4}, float[4] m = {4, 3, 2, 1}>
        { y = BatchNormalization <epsilon = 0.01> (x, s, s, m, v) }""",
        opset,
    )
    (own,), (other,) = on_both(model, x=X)
    np.testing.assert_allclose(own, other, rtol=1e-5)
