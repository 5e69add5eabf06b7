"""A prepared call in OpenVINO does not bind later ones to its batch."""

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from runtimes import open_runtime

pytest.importorskip("openvino")


def test_a_larger_batch_runs_after_a_prepared_one(graph: Callable[..., ir.Model]) -> None:
    model = graph("g (float[N, 3] x) => (float[N, 3] y) { y = Add (x, x) }")
    with open_runtime(model, "openvino", threads=1) as runtime:
        for size in (1, 8, 2):
            feed = {"x": np.ones((size, 3), np.float32)}
            runtime.prepare(feed)()
            assert runtime.run(feed)["y"].shape == (size, 3)
