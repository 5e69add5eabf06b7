"""What the search for cuts compares models by: what kernels should take, or what they took."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir
import pytest

from converter.passes.shapes.infer_shapes import InferShapes
from converter.pruning.prepare import Prepared, PruneOptions, prepare
from converter.pruning.search.savings import Target
from runtimes.costs import open_costs
from runtimes.costs.kernels import Executed
from runtimes.costs.table import CostTable, Reading
from runtimes.costs.workbench import LocalWorkbench
from runtimes.data.dataset import Dataset
from runtimes.onnx_files.load_save import model_inputs
from runtimes.progress import silent


class Counted(LocalWorkbench):
    """Says that every kernel takes a microsecond, and counts how many it was asked for."""

    asked = 0

    def measure(self, unknown: Sequence[Executed], table: CostTable) -> tuple[str, ...]:
        self.asked += len(unknown)
        table.yardsticks, table.run_microseconds = {"add": 1.0}, 1.0
        table.readings |= {one.kernel.signature: Reading(1.0, 0.0, 5) for one in unknown}
        return ()


@pytest.mark.parametrize(("share", "is_measured"), [(0.0, False), (0.5, True)])
def test_a_share_of_the_latency_is_one_of_what_was_measured(
    share: float, is_measured: bool, graph: Callable[..., ir.Model]
) -> None:
    random = np.random.default_rng(0)
    shapes = {"A": (8, 32), "C": (32, 3)}
    arrays = {name: random.standard_normal(s).astype("f4") for name, s in shapes.items()}
    text = "h = MatMul(x, A) r = Relu(h) y = MatMul(r, C)"
    model = graph("(float[N, 8] x) => (float[N, 3] y)", text, **arrays)
    InferShapes()(model)
    feed = {"x": random.standard_normal((96, 8)).astype("f4")}
    data = Dataset.open(feed, inputs=model_inputs(model))
    bench = Counted()
    costs = open_costs("none", bench=bench)
    found = prepare(model, data, PruneOptions(Target("latency", share), costs=costs), silent)
    assert isinstance(found, Prepared)
    list(found.cuts.chain("latency", share))
    assert bool(bench.asked) == is_measured
