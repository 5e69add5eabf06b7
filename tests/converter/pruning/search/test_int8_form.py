"""The INT8 form in which a model is weighed: INT8 kernels, made-up ranges, the same interface."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
from random_graphs import Builder

from converter.passes import optimize
from converter.pruning import PruneOptions, prune_model
from converter.pruning.search import savings
from converter.pruning.search.int8_form import Form, as_float, draft, int8_form
from converter.pruning.search.savings import Target
from runtimes.costs import Costs, open_costs
from runtimes.data.dataset import Dataset
from runtimes.onnx_files.load_save import model_inputs, save_model
from runtimes.parity.budget import Budget


def network(width: int = 32) -> ir.Model:
    """Two convolutions and a dense layer; ``width`` channels between them."""
    build = Builder(0)
    x = build.input(["N", 3, 8, 8])
    for channels, filters in ((3, width), (width, 16)):
        product = build.op("Conv", x, build.weight(filters, channels, 3, 3), pads=[1, 1, 1, 1])
        x = build.op("Relu", product)
    x = build.op("Flatten", build.op("GlobalAveragePool", x))
    return build.model(build.op("Gemm", x, build.weight(16, 10), build.weight(10)))


def images(model: ir.Model, count: int = 48) -> Dataset:
    x = np.random.default_rng(0).normal(size=(count, 3, 8, 8)).astype(np.float32)
    return Dataset.open({"x": x}, inputs=model_inputs(model))


def kernels(model: ir.Model, folder: Path) -> Counter[str]:
    """Operators of the graph that ONNX Runtime made of a model."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.log_severity_level = 3
    save_model(model, folder / "model.onnx", force=True)
    onnxruntime.InferenceSession(folder / "model.onnx", options)
    return Counter(node.op_type for node in ir.load(folder / "optimized.onnx").graph)


def test_a_draft_runs_the_kernels_of_int8(tmp_path: Path) -> None:
    model = network()
    before = ir.to_proto(model).SerializeToString(deterministic=True)
    found = kernels(draft(model), tmp_path)
    assert found["QLinearConv"] == 2
    assert found["Conv"] == found["Relu"] == 0
    assert found["QGemm"] == 1
    assert ir.to_proto(model).SerializeToString(deterministic=True) == before


def test_what_is_to_stay_in_float_does(tmp_path: Path) -> None:
    model = network()
    first = next(str(node.name) for node in model.graph if node.op_type == "Conv")
    found = kernels(draft(model, frozenset({first})), tmp_path)
    assert found["QLinearConv"] == 1
    assert found["Conv"] + found["FusedConv"] == 1


def test_the_form_is_good_for_what_is_left_of_the_model(tmp_path: Path) -> None:
    model = network()
    form = int8_form(model, images(model), 1, open_costs())
    for width in (32, 16):
        made = form(network(width))
        assert [value.name for value in made.graph.outputs] == ["y0"]
        if form is not as_float:  # which of them is faster, this machine says
            assert kernels(made, tmp_path)["QLinearConv"] + kernels(made, tmp_path)["QGemm"] > 0


def test_a_model_without_anything_for_int8_stays() -> None:
    build = Builder(0)
    x = build.input(["N", 3, 8, 8])
    model = build.model(build.op("Tanh", x))
    assert int8_form(model, images(model), 1, open_costs()) is as_float


@pytest.mark.parametrize("int8", [True, False])
def test_the_search_weighs_what_will_run(int8: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    formed: list[int] = []

    def form(model: ir.Model, data: Dataset, threads: int, costs: Costs) -> Form:
        def made(other: ir.Model) -> ir.Model:
            formed.append(len(other.graph))
            return draft(other)

        return made

    monkeypatch.setattr(savings, "int8_form", form)
    model = optimize(network())
    options = PruneOptions(Target("latency", int8=int8))
    found = prune_model(model, images(model), Budget(None, 0.0, 0.5, 6.0), options=options)
    assert found.report.tried
    assert bool(formed) == int8
    operators: Any = {node.op_type for node in found.model.graph}
    assert "QuantizeLinear" not in operators
