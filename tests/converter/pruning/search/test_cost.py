"""What a model costs, whatever types its values have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from random_graphs import Builder

from converter.passes import optimize
from converter.pruning.groups.dependencies import find_dependencies
from converter.pruning.model import prune_model
from converter.pruning.prepare import PruneOptions
from converter.pruning.search.cost import Cost, CostModel
from converter.pruning.search.savings import Target
from runtimes.data.dataset import Dataset
from runtimes.onnx_files.load_save import model_inputs
from runtimes.parity.budget import Budget

ANY_LOSS = Budget(max_drop=1.0, min_agreement=0.0, min_sqnr=-200.0)


def looked_up(build: Builder, words: ir.Value, known: Sequence[str]) -> ir.Value:
    """Numbers of strings, by an operator of another domain."""
    build.graph.opset_imports["ai.onnx.ml"] = 3
    node = ir.node(
        "LabelEncoder",
        [words],
        {"keys_strings": list(known), "values_int64s": list(range(len(known)))},
        domain="ai.onnx.ml",
        name="lookup",
    )
    node.outputs[0].name = "number"
    node.outputs[0].type = ir.TensorType(ir.DataType.INT64)
    build.graph.append(node)
    return node.outputs[0]


def towers() -> tuple[ir.Model, Dataset]:
    """A word, a number and a switch for each sample, in one product."""
    build = Builder(0)
    known = ["ant", "bee", "cow"]
    word = build.input(["N"], "word", ir.DataType.STRING)
    item = build.input(["N"], "item", ir.DataType.INT64)
    switch = build.input(["N", 1], "switch", ir.DataType.BOOL)
    left = build.op("Gather", build.weight(3, 8), looked_up(build, word, known), axis=0)
    right = build.op("Gather", build.weight(5, 8), item, axis=0)
    right = build.op("Where", switch, right, build.constant(np.zeros(8)))
    left = build.op("Relu", build.op("MatMul", left, build.weight(8, 12)))
    right = build.op("Relu", build.op("MatMul", right, build.weight(8, 12)))
    both = build.op("Mul", left, right)
    model = build.model(build.op("MatMul", both, build.weight(12, 2)))
    model.graph.outputs[0].shape = ir.Shape(["N", 2])
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {
        "word": rng.choice(known, 64),
        "item": rng.integers(0, 5, 64),
        "switch": rng.random((64, 1)) < 0.5,
    }
    model = optimize(model)
    return model, Dataset.open(arrays).bind(model_inputs(model))


def test_strings_and_switches_are_values_like_others() -> None:
    model, data = towers()
    dependencies = find_dependencies(model)
    cost = CostModel(model, dependencies, data).count(dependencies.everything())
    weights = [value.const_value for value in model.graph.initializers.values()]
    floats = sum(one.size for one in weights if one and one.dtype == ir.DataType.FLOAT)
    assert cost == Cost(2 * 8 * 12 + 12 * 2, floats)


def test_a_model_of_strings_is_pruned() -> None:
    model, data = towers()
    pruned = prune_model(model, data, ANY_LOSS, options=PruneOptions(Target("macs", 0.6)))
    assert pruned.report.kept
    assert pruned.report.reached
