"""Saturation as outputs of the graph: counted right, and nothing else is changed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx.parser
import onnx_ir as ir
import pytest

from runtimes.engines.ort import OrtRuntime
from runtimes.monitor.ends import Ends, with_ends
from runtimes.monitor.probe import open_probe

CHAIN = """<ir_version: 8, opset_import: ["": {opset}]>
net (float[N, 3, 4] x) => (float[N, 3, 4] y)
<float scale = {{0.01}}, {kind} zero = {{{zero}}}> {{
    q = QuantizeLinear(x, scale, zero)
    d = DequantizeLinear(q, scale, zero)
    s = Sigmoid(d)
    p = QuantizeLinear(s, scale, zero)
    y = DequantizeLinear(p, scale, zero)
}}"""


def chain(kind: str = "int8", zero: int = 0, opset: int = 18) -> ir.Model:
    text = CHAIN.format(kind=kind, zero=zero, opset=opset)
    return ir.from_proto(onnx.parser.parse_model(text))


@pytest.fixture
def feed() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {"x": rng.normal(0, 1.5, (8, 3, 4)).astype(np.float32)}


@pytest.mark.parametrize("opset", [13, 18, 21])
@pytest.mark.parametrize(
    ("kind", "zero", "low", "high"),
    [("int8", 0, -128, 127), ("uint8", 128, 0, 255), ("uint8", 0, None, 255)],
)
def test_codes_at_the_ends_are_counted(
    feed: dict[str, np.ndarray], opset: int, kind: str, zero: int, low: int | None, high: int
) -> None:
    ends = with_ends(chain(kind, zero, opset))
    assert list(ends.activations.values()) == ["x", "s"]
    with OrtRuntime(ends.model, threads=1) as runtime:
        found = runtime.run(feed)
    info = np.iinfo(kind)
    codes = np.clip(np.rint(feed["x"] / np.float32(0.01)) + zero, info.min, info.max)
    at_end = (codes == high) | (codes == low if low is not None else False)
    assert found["kilnx_ends_0"] == pytest.approx(at_end.reshape(8, -1).mean(axis=1))
    assert found["kilnx_ends_0"].max() > 0


def test_the_own_outputs_are_the_same_bits(feed: dict[str, np.ndarray]) -> None:
    with OrtRuntime(chain(), threads=1) as plain, OrtRuntime(with_ends(chain()).model) as probed:
        assert (plain.run(feed)["y"] == probed.run(feed)["y"]).all()


def test_a_float_model_stays_as_it_is(original: Path) -> None:
    with open_probe(original) as probe:
        assert probe.activations == ()
        found = probe.run({"x": np.ones((2, 4), np.float32)})
    assert found.ends.shape == (2, 0)
    assert list(found.outputs) == ["y"]


def test_a_graph_that_cannot_count_is_run_without(
    quantized: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(model: ir.Model) -> Ends:
        ends = with_ends(model)
        for node in ends.model.graph:
            if node.op_type == "Equal":
                node.op_type = "NoSuchOperator"
        return ends

    monkeypatch.setattr("runtimes.monitor.probe.with_ends", damaged)
    with open_probe(quantized) as probe:
        assert probe.note is not None
        assert "NoSuchOperator" in probe.note
        assert probe.activations == ()
        assert probe.run({"x": np.ones((1, 4), np.float32)}).outputs["y"].shape == (1, 4)


def test_weights_are_no_activations() -> None:
    text = """<ir_version: 8, opset_import: ["": 18]>
    net (float[N, 4] x) => (float[N, 4] y)
    <float[4] w = {1, 2, 3, 4}, float scale = {0.1}, int8 zero = {0}> {
        q = QuantizeLinear(w, scale, zero)
        d = DequantizeLinear(q, scale, zero)
        y = Mul(x, d)
    }"""
    assert not with_ends(ir.from_proto(onnx.parser.parse_model(text))).activations


def test_a_scale_that_is_computed_is_left_out() -> None:
    text = """<ir_version: 8, opset_import: ["": 18]>
    net (float[N, 4] x) => (uint8[N, 4] q) {
        q, scale, zero = DynamicQuantizeLinear(x)
        r = DequantizeLinear(q, scale, zero)
        p = QuantizeLinear(r, scale, zero)
    }"""
    assert not with_ends(ir.from_proto(onnx.parser.parse_model(text))).activations


def test_of_many_activations_the_first_and_the_last_are_among_those_chosen() -> None:
    nodes = "".join(
        f"q{i} = QuantizeLinear(a{i}, scale, zero) d{i} = DequantizeLinear(q{i}, scale, zero) "
        f"a{i + 1} = Relu(d{i}) "
        for i in range(40)
    )
    text = (
        '<ir_version: 8, opset_import: ["": 18]> net (float[N, 4] a0) => (float[N, 4] a40) '
        f"<float scale = {{0.1}}, int8 zero = {{0}}> {{ {nodes} }}"
    )
    ends = with_ends(ir.from_proto(onnx.parser.parse_model(text)), most=5)
    assert list(ends.activations.values()) == ["a0", "a10", "a20", "a29", "a39"]


def test_rows_of_steps_are_averaged_over_a_sample(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 18]>
    net (float[N, 2, 4] x) => (float[M, 4] y)
    <float scale = {0.01}, int8 zero = {0}, int64[2] flat = {-1, 4}> {
        f = Reshape(x, flat)
        q = QuantizeLinear(f, scale, zero)
        y = DequantizeLinear(q, scale, zero)
    }"""
    path = tmp_path / "steps.onnx"
    ir.save(ir.from_proto(onnx.parser.parse_model(text)), path)
    x = np.zeros((3, 2, 4), np.float32)
    x[1, 1] = 5
    with open_probe(path) as probe:
        ends = probe.run({"x": x}).ends
    assert ends[:, 0].tolist() == [0, 0.5, 0]
