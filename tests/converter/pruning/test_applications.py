"""Networks that people use: groups for their weights, and what goes leaves no trace."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from pruning_checks import run_model, zero_operand
from zeroed_channels import zero_channels

from converter.export.export import export
from converter.pruning.groups.dependencies import find_dependencies
from converter.pruning.groups.removal import remove_channels
from converter.pruning.groups.selection import Dependencies
from converter.pruning.operators.channels import IntArray
from converter.pruning.repair.sums import Problem
from converter.pruning.repair.walk import WalkOptions
from converter.pruning.search.plan import cut as cut_out
from runtimes.data.dataset import Dataset
from runtimes.onnx_graph.values import constant

pytestmark = pytest.mark.slow

APPLICATIONS = {
    "ConvNeXtTiny": 64,
    "DenseNet121": 64,
    "EfficientNetB0": 64,
    "InceptionV3": 96,
    "MobileNetV2": 64,
    "NASNetMobile": 224,
    "ResNet50": 64,
    "Xception": 96,
}


@pytest.fixture(scope="module", params=sorted(APPLICATIONS))
def application(request: pytest.FixtureRequest, keras: Any) -> ir.Model:
    keras.utils.set_random_seed(0)
    size = APPLICATIONS[request.param]
    make = getattr(keras.applications, request.param)
    model = make(weights=None, input_shape=(size, size, 3), classifier_activation=None)
    for variable in model.variables:
        if variable.path.endswith("moving_variance"):  # else deep random networks give zeros
            variable.assign(np.full(variable.shape, 0.05))
    return export(model)


def test_groups_hold_nearly_all_weights(application: ir.Model) -> None:
    dependencies = find_dependencies(application)
    covered = total = 0
    for node in application.graph:
        for index, value in enumerate(node.inputs):
            array = constant(value)
            if node.op_type in {"Conv", "MatMul", "Gemm"} and array is not None and array.ndim > 1:
                total += array.size
                covered += array.size * is_covered(dependencies, str(node.name), index)
    assert covered > 0.9 * total


def is_covered(dependencies: Dependencies, node: str, index: int) -> bool:
    """Whether some axis of a weight loses channels with an open group."""
    units = np.concatenate([group.units for group in dependencies.groups if group.is_open])
    along: list[IntArray] = [
        use.channels for use in dependencies.uses if (use.node, use.input) == (node, index)
    ]
    return any(np.isin(dependencies.partition.unit_of[one], units).any() for one in along)


def test_removing_a_third_is_zeroing_it(application: ir.Model) -> None:
    dependencies = find_dependencies(application)
    random = np.random.default_rng(0)
    kept = dependencies.everything()
    for group in dependencies.groups:
        if group.is_open:
            count = int(0.3 * len(group.units))
            kept = kept.without(random.choice(group.units, count, replace=False))
    cut, zeroed = application.clone(), application.clone()
    remove_channels(cut, dependencies, kept)
    zero_channels(zeroed, dependencies, kept)
    (value,) = application.graph.inputs
    assert [(v.name, v.shape) for v in cut.graph.inputs] == [(value.name, value.shape)]
    shape = [2, *value.shape[1:]]
    feed = {value.name: random.uniform(0, 255, shape).astype(np.float32)}
    (got,), (want,), (whole,) = (run_model(model, feed) for model in (cut, zeroed, application))
    scale = np.abs(want).max()
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-4 * scale)
    assert np.abs(whole - want).max() > 1e-2 * scale  # the channels were not idle


def test_residual_branches_go_without_a_trace(application: ir.Model) -> None:
    (value,) = application.graph.inputs
    random = np.random.default_rng(0)
    images = random.uniform(0, 255, [2, *value.shape[1:]]).astype(np.float32)
    data = Dataset.open({str(value.name): images})
    problem = Problem(application, find_dependencies(application), data, WalkOptions())
    branches = [branch for branch in problem.branches if random.random() < 0.5]
    if not problem.branches:
        pytest.skip("no residual branches")
    kept, zeroed = problem.dependencies.everything(), application
    for branch in branches:
        kept = kept.without(branch.units)
        zeroed = zero_operand(zeroed, branch.add, branch.input)
    left = cut_out(problem, kept)
    assert len(left.graph) < len(application.graph)
    (got,), (want,) = (run_model(model, {str(value.name): images}) for model in (left, zeroed))
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-4 * np.abs(want).max())
