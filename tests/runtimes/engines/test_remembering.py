"""A reference that runs once for all that are compared with it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from runtimes.engines import remembering
from runtimes.engines.ort import OrtRuntime
from runtimes.engines.remembering import RememberingRuntime

MODEL = ir.from_onnx_text(
    '<ir_version: 8, opset_import: ["" : 17]>'
    "g (float[batch, 2] x) => (float[batch, 2] y, float[batch, 2] z) { y = Neg(x) z = Abs(x) }"
)
FEED = {"x": np.array([[1.0, -2.0]], np.float32)}


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    made: list[Any] = []
    run = OrtRuntime._run

    def noted(runtime: OrtRuntime, feed: Any, names: Any) -> Any:
        made.append(names)
        return run(runtime, feed, names)

    monkeypatch.setattr(OrtRuntime, "_run", noted)
    return made


def test_the_same_samples_run_once(runs: list[Any]) -> None:
    with RememberingRuntime(MODEL, threads=1) as runtime:
        for _ in range(3):
            found = runtime.run(FEED)
            np.testing.assert_array_equal(found["y"], [[-1.0, 2.0]])
            found["y"][:] = 7.0  # what a caller does to its copy is its own affair
        assert len(runs) == 1
        runtime.run({"x": FEED["x"] + 1})
        runtime.run({"x": FEED["x"].repeat(2, axis=0)})
        assert runtime.run(FEED, ["z"])["z"].tolist() == [[1.0, 2.0]]
        assert len(runs) == 4


def test_what_memory_does_not_hold_runs_again(
    runs: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remembering, "MOST_BYTES", 20)
    with RememberingRuntime(MODEL, threads=1) as runtime:
        for _ in range(2):
            runtime.run(FEED)
            runtime.run({"x": FEED["x"] + 1})
    assert len(runs) == 3
