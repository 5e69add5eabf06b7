"""A walk gives the values that a whole run gives, in memory or from files."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from pruning_checks import run_model
from random_graphs import Builder, image_network

from converter.passes.shapes.infer_shapes import InferShapes
from converter.pruning.repair.walk import Walk, WalkOptions
from runtimes.data.dataset import Dataset

IMAGES = np.random.default_rng(0).normal(size=(11, 3, 8, 8)).astype(np.float32)


def expected(model: ir.Model, name: str) -> Any:
    """A value over all samples, from a run of the model with that output alone."""
    copy = model.clone()
    values = {value.name: value for node in copy.graph for value in node.outputs}
    copy.graph.outputs[:] = [values[name]]
    return run_model(copy, {"x": IMAGES})[0]


@pytest.mark.parametrize("memory", [0, 1 << 30])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_value_on_the_way(seed: int, memory: int) -> None:
    model = image_network(seed, 5)
    InferShapes()(model)
    data = Dataset.open({"x": IMAGES})
    nodes = [str(node.name) for node in model.graph]
    with Walk(model, data, WalkOptions(batch_size=4, memory_bytes=memory)) as walk:
        for place in range(0, len(nodes), 2):
            walk.advance(nodes[place])
            value = next(n for n in model.graph if n.name == nodes[place]).outputs[0]
            if value.dtype != ir.DataType.FLOAT:  # the size of the batch, say
                continue
            name = str(value.name)
            found = np.concatenate([batch[name] for batch in walk.batches([name])])
            np.testing.assert_allclose(found, expected(model, name), rtol=1e-3, atol=1e-4)


def test_weights_behind_the_stop_may_change() -> None:
    build = Builder(0)
    x = build.input(["N", 3, 8, 8])
    first, second = build.weight(4, 3, 1, 1), build.weight(2, 4, 1, 1)
    inner = build.op("Conv", x, first)
    model = build.model(build.op("Conv", inner, second))
    InferShapes()(model)
    names = [str(node.name) for node in model.graph]
    with Walk(model, Dataset.open({"x": IMAGES}), WalkOptions()) as walk:
        walk.advance(names[1])
        second.const_value = ir.tensor(2 * second.const_value.numpy(), name=second.name)
        found = np.concatenate([batch["y0"] for batch in walk.batches(["y0"])])
        np.testing.assert_allclose(found, run_model(model, {"x": IMAGES})[0], rtol=1e-4, atol=1e-5)
        with pytest.raises(ValueError, match="past"):
            walk.advance(names[0])


def test_a_fixed_batch_is_filled_up() -> None:
    build = Builder(0)
    x = build.input([4, 3, 8, 8])
    inner = build.op("Conv", x, build.weight(4, 3, 1, 1))
    model = build.model(build.op("Conv", inner, build.weight(2, 4, 1, 1)))
    InferShapes()(model)
    with Walk(model, Dataset.open({"x": IMAGES}), WalkOptions(batch_size=32)) as walk:
        walk.advance(str(list(model.graph)[1].name))
        sizes = [len(batch["y0"]) for batch in walk.batches(["y0"])]
    assert sizes == [4, 4, 4]


@pytest.mark.parametrize("memory", [0, 1 << 30])
def test_a_walk_goes_on_over_a_model_that_is_the_same_so_far(memory: int) -> None:
    model = image_network(1, 5)
    InferShapes()(model)
    data, options = Dataset.open({"x": IMAGES}), WalkOptions(batch_size=4, memory_bytes=memory)
    output = str(model.graph.outputs[0].name)
    other = model.clone()
    weight = [node.inputs[1] for node in other.graph if node.op_type == "Conv"][-1]
    weight.const_value = ir.tensor(3 * weight.const_value.numpy(), name=weight.name)
    reader = next(node for node in other.graph if weight in node.inputs)
    with Walk(model, data, options) as walk:
        walk.advance(str(reader.name))
        with walk.over(other) as tail:
            found = np.concatenate([batch[output] for batch in tail.batches([output])])
            with pytest.raises(ValueError, match="past"):
                tail.advance(str(other.graph[0].name))
        np.testing.assert_allclose(found, expected(other, output), rtol=1e-3, atol=1e-4)
        found = np.concatenate([batch[output] for batch in walk.batches([output])])
        np.testing.assert_allclose(found, expected(model, output), rtol=1e-3, atol=1e-4)


def test_a_walk_that_lacks_what_is_read_begins_anew() -> None:
    build = Builder(0)
    x = build.input(["N", 3, 8, 8])
    first = build.op("Relu", x)
    second = build.op("Conv", first, build.weight(4, 3, 1, 1))
    model = build.model(build.op("Sigmoid", second))
    InferShapes()(model)
    other = model.clone()
    last = list(other.graph)[2]
    relu = next(node for node in other.graph if node.op_type == "Relu")
    last.replace_input_with(0, relu.outputs[0])  # what was read last before, and is not kept
    with Walk(model, Dataset.open({"x": IMAGES}), WalkOptions()) as walk:
        walk.advance(str(last.name))
        with walk.over(other) as tail:
            found = np.concatenate([batch["y0"] for batch in tail.batches(["y0"])])
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-np.maximum(IMAGES, 0))), rtol=1e-5)
