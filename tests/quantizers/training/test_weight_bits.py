"""Coarser weights in a quantized graph, and which scales of it can be learned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

from quantizers import QuantizeOptions, quantize_model
from quantizers.training.scales import find_scales, separate_bias_scales
from quantizers.training.weight_bits import best_scale, levels_of, with_weight_bits
from runtimes import Dataset
from runtimes.engines.ort import OrtRuntime


@pytest.fixture
def quantized(
    residual_model: ir.Model, bound: Callable[..., Dataset], images: NDArray[Any]
) -> ir.Model:
    data = bound(residual_model, image=images)
    options = QuantizeOptions(threads=1, equalize=False, choose_ranges=False, rounding="nearest")
    return quantize_model(residual_model, data, options=options)[0]


def _logits(model: ir.Model, images: NDArray[Any]) -> NDArray[Any]:
    with OrtRuntime(model, threads=1) as runtime:
        return runtime.run({"image": images})["logits"]


@pytest.mark.parametrize("per_channel", [True, False])
def test_fewer_bits_stay_near_and_keep_the_nodes(
    quantized: ir.Model, images: NDArray[Any], per_channel: bool
) -> None:
    coarser = with_weight_bits(quantized, 5, per_channel=per_channel)
    assert set(levels_of(coarser).values()) == {15.0}
    assert [node.name for node in coarser.graph] == [node.name for node in quantized.graph]
    before, after = _logits(quantized, images), _logits(coarser, images)
    error = np.square(after - before).mean() / before.var()
    assert 0 < error < 0.05


def test_scales_of_biases_follow_from_the_others(quantized: ir.Model) -> None:
    separate_bias_scales(quantized)
    scales = find_scales(quantized)
    assert len(scales.products) == 4
    for bias, (data, weight) in scales.products.items():
        assert bias not in scales.learned
        own = quantized.graph.initializers[bias].const_value.numpy()
        np.testing.assert_allclose(own, scales.learned[data] * scales.learned[weight], rtol=1e-5)
    assert all(np.all(scale > 0) for scale in scales.learned.values())


def test_a_scale_with_other_uses_stays(quantized: ir.Model) -> None:
    separate_bias_scales(quantized)
    learned = set(find_scales(quantized).learned)
    (one,) = [name for name in learned if _reads_input(quantized, name)]
    value = quantized.graph.initializers[one]
    quantized.graph.append(ir.Node("", "Identity", [value], outputs=[ir.Value(name="seen")]))
    after = find_scales(quantized)
    assert one not in after.learned
    assert all(one not in pair for pair in after.products.values())


def _reads_input(model: ir.Model, scale: str) -> bool:
    first = model.graph.inputs[0]
    return any(node.inputs[0] is first for node, _ in model.graph.initializers[scale].uses())


def test_the_best_scale_clips_a_lone_large_weight() -> None:
    weight = np.append(np.linspace(-1, 1, 201), 2.0).astype(np.float32)
    assert best_scale(weight, None, 7) < 2.0 / 7
    channels = np.stack([weight, weight * 10])
    np.testing.assert_allclose(
        best_scale(channels, 0, 7) / best_scale(weight, None, 7), [1, 10], rtol=1e-5
    )
