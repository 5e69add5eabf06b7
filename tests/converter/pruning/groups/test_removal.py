"""Removing channels is the same as zeroing them, whatever the network."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pruning_checks import random_selection, run_model
from random_graphs import image_network, sequence_network
from random_shapes import feed_of, shape_network
from zeroed_channels import zero_channels

from converter.passes import optimize
from converter.passes.shapes.infer_shapes import InferShapes
from converter.pruning.groups.dependencies import find_dependencies
from converter.pruning.groups.removal import remove_channels
from converter.pruning.groups.selection import Dependencies, Selection
from examples import examples

SEEDS = st.integers(0, 2**32 - 1)


def interface(model: ir.Model) -> Any:
    return [
        [(value.name, value.dtype, value.shape) for value in values]
        for values in (model.graph.inputs, model.graph.outputs)
    ]


def check_removal(
    model: ir.Model, dependencies: Dependencies, kept: Selection, feed: dict[str, Any]
) -> ir.Model:
    cut, zeroed = model.clone(), model.clone()
    remove_channels(cut, dependencies, kept)
    zero_channels(zeroed, dependencies, kept)
    assert interface(cut) == interface(model)
    for got, want in zip(run_model(cut, feed), run_model(zeroed, feed), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-4 * np.abs(want).max())
    return cut


def images(seed: int) -> dict[str, Any]:
    return {"x": np.random.default_rng(seed).normal(size=(2, 3, 8, 8)).astype(np.float32)}


def tokens(seed: int) -> dict[str, Any]:
    return {"x": np.random.default_rng(seed).integers(0, 9, size=(2, 5))}


@pytest.mark.parametrize(("network", "feed"), [(image_network, images), (sequence_network, tokens)])
@examples(60)
@given(seed=SEEDS, length=st.integers(1, 9))
def test_removed_at_random_equals_zeroed(network: Any, feed: Any, seed: int, length: int) -> None:
    model = network(seed, length)
    InferShapes()(model)
    dependencies = find_dependencies(model)
    check_removal(model, dependencies, random_selection(dependencies, seed), feed(seed))


@examples(120)
@given(seed=SEEDS, length=st.integers(1, 14), optimized=st.booleans())
def test_channels_that_land_on_any_axis_keep_every_shape(
    seed: int, length: int, optimized: bool
) -> None:
    model = shape_network(seed, length)
    if optimized:
        optimize(model)
    else:
        InferShapes()(model)
    feed = feed_of(model, seed)
    dependencies = find_dependencies(model)
    cut = check_removal(model, dependencies, random_selection(dependencies, seed), feed)
    for before, after in zip(run_model(model, feed), run_model(cut, feed), strict=True):
        assert before.shape == after.shape


def test_an_axis_keeps_a_channel(graph: Any, dependencies_of: Any) -> None:
    model = graph(
        "(float[N, 3] x) => (float[N, 2] y)",
        "a = MatMul(x, w) b = Relu(a) y = MatMul(b, v)",
        w=np.ones((3, 4), np.float32),
        v=np.ones((4, 2), np.float32),
    )
    dependencies = dependencies_of(model)
    (group, _) = dependencies.groups
    with pytest.raises(ValueError, match="without any channel"):
        remove_channels(model, dependencies, dependencies.everything().without(group.units))


def test_what_is_closed_cannot_be_taken(graph: Any, dependencies_of: Any) -> None:
    model = graph(
        "(float[N, 3] x) => (float[N, 4] y)", "y = MatMul(x, w)", w=np.ones((3, 4), np.float32)
    )
    dependencies = dependencies_of(model)
    with pytest.raises(ValueError, match="'y' is an output of the model"):
        dependencies.everything().without(np.array([0]))
