"""The precision that OpenVINO really runs each layer in."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from runtimes import check, open_runtime, profile
from runtimes.engines.openvino_layers import layers_of
from runtimes.engines.placement import LayerPrecision

Graph = Callable[[str], ir.Model]

WEIGHTS = ", ".join(f"{v:.2f}" for v in np.random.default_rng(0).standard_normal(64))
FLOAT = (
    f"g (float[N, 8] x) => (float[N, 8] y) <float[8, 8] w = {{{WEIGHTS}}}>"
    "{ [dense] a = MatMul(x, w)\n [relu] y = Relu(a) }"
)
X = {"x": np.ones((1, 8), np.float32)}


def layer(name: str, **said: str) -> Any:
    told = {key: SimpleNamespace(value=value) for key, value in said.items()}
    return SimpleNamespace(
        get_rt_info=lambda: told,
        get_friendly_name=lambda: name,
        inputs=lambda: (),
        outputs=lambda: (),
    )


def compiled(*layers: Any) -> Any:
    model = SimpleNamespace(get_ordered_ops=lambda: layers)
    return SimpleNamespace(get_runtime_model=lambda: model)


def test_a_layer_is_told_by_its_node_and_the_precision_that_runs(graph: Graph) -> None:
    model = graph(
        "g (float[N, 8] x, float[8, 8] w) => (float[N, 8] y)"
        "{ [q] a = Neg(x)\n [dense] b = MatMul(a, w)\n [relu] y = Relu(b) }"
    )
    model.graph[0].op_type = "QuantizeLinear"
    found = layers_of(
        compiled(
            layer("x", layerType="Input", runtimePrecision="f32"),
            layer(
                "made up",
                layerType="FullyConnected",
                runtimePrecision="u8",
                originalLayersNames="q,Constant_3,dense,relu",
            ),
            layer("q", layerType="FakeQuantize", runtimePrecision="f32", originalLayersNames="q"),
            layer("own", layerType="Eltwise", runtimePrecision="bf16", originalLayersNames=""),
            layer("untold"),
        ),
        model,
    )
    assert found == (
        LayerPrecision("dense", "FullyConnected", "u8"),
        LayerPrecision("q", "FakeQuantize", "f32"),
        LayerPrecision("own", "Eltwise", "bf16"),
    )


def test_a_float_model_runs_in_float(graph: Graph) -> None:
    pytest.importorskip("openvino")
    with open_runtime(graph(FLOAT), "openvino") as runtime:
        placement = runtime.placement
    assert placement.precisions == {"f32": len(placement.layers)}
    assert "dense" in {layer.layer for layer in placement.layers}
    assert str(placement).endswith(f"({len(placement.layers)} layers in f32)")


def test_reports_tell_the_precision(graph: Graph) -> None:
    pytest.importorskip("openvino")
    report = profile(graph(FLOAT), provider="openvino", min_time=0.01, operators=True)
    assert {row["precision"] for row in report.layer_rows()} == {"f32"}
    assert report.operators is None
    assert report.notes[-1] == "single operators are timed on cpu and cuda only"
    (placement,) = check(graph(FLOAT), graph(FLOAT), X, providers=["openvino"]).placements
    told = placement.layers
    assert [row["layer"] for row in report.layer_rows()] == [one.layer for one in told]
