"""INT8 for OpenVINO: it computes what was calibrated, in integers."""

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from quantizers.options import QuantizeOptions
from quantizers.static import quantize_model
from runtimes import open_runtime
from runtimes.targets import find_target

pytest.importorskip("openvino")


@pytest.fixture
def network(graph: Any) -> ir.Model:
    """Two convolutions with a residual sum, slopes, pooling and a head."""
    rng = np.random.default_rng(0)
    weights = {
        "w1": 0.4 * rng.standard_normal((8, 3, 3, 3)),
        "w2": 0.2 * rng.standard_normal((8, 8, 3, 3)),
        "w3": 0.2 * rng.standard_normal((8, 8, 3, 3)),
        "k": rng.uniform(0.1, 0.5, (8, 1, 1)),
        "v": 0.1 * rng.standard_normal((512, 5)),
    }
    floats = {name: array.astype(np.float32) for name, array in weights.items()}
    given = ", ".join(
        f"float[{', '.join(map(str, array.shape))}] {name}" for name, array in floats.items()
    )
    text = f"""g (float[N, 3, 16, 16] x, {given}) => (float[N, 5] y) {{
        [one] a = Conv <pads = [1, 1, 1, 1]> (x, w1)
        [slopes] p = PRelu (a, k)
        [two] b = Conv <pads = [1, 1, 1, 1]> (p, w2)
        [sum] s = Add (b, p)
        [pool] m = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (s)
        [three] c = Conv <pads = [1, 1, 1, 1]> (m, w3)
        [flat] f = Flatten (c)
        [dense] y = MatMul (f, v) }}"""
    made: ir.Model = graph(text, floats)
    return made


def test_what_openvino_computes_is_what_was_calibrated(network: ir.Model, bound: Any) -> None:
    x = np.random.default_rng(1).standard_normal((64, 3, 16, 16)).astype(np.float32)
    form = find_target("openvino").int8
    assert form is not None
    made, report = quantize_model(network, bound(network, x=x), options=QuantizeOptions(form=form))
    assert {one.precision for one in report.operators} == {"int8"}
    answers = {}
    for provider in ("cpu", "openvino"):
        with open_runtime(made, provider, threads=1) as runtime:
            answers[provider] = runtime.run({"x": x})["y"].astype(np.float64)
    with open_runtime(network, "cpu", threads=1) as runtime:
        wanted = runtime.run({"x": x})["y"].astype(np.float64)
    assert decibels(wanted, answers["openvino"]) > 30
    # Kernels that round elsewhere would be as far from each other as from the float model.
    apart = decibels(answers["cpu"], answers["openvino"])
    assert apart > decibels(wanted, answers["openvino"]) + 3


def decibels(signal: Any, found: Any) -> float:
    noise = np.square(signal - found).sum()
    return float(10 * np.log10(np.square(signal).sum() / noise)) if noise else np.inf
