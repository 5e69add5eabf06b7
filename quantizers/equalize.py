"""Cross-layer equalization: channels of one tensor brought to like ranges before rounding.

All channels of an activation share one grid, so a channel of small range keeps few of the 256
codes. A factor a channel moves the inequality into the weights that read the tensor, half of
it, so that neither side is left with more than the square root of it: ``s = sqrt(w / r)`` for a
channel of range ``r`` whose weights reach ``w`` (Nagel et al. 2019, arXiv:1906.04721; for the
output of a normalization it is SmoothQuant, Xiao et al. 2023, arXiv:2211.10438). A depthwise
convolution has one weight scale a channel and takes all of it.

ReLU6 and other bounds that are one number for all channels do not let factors through, and
nothing is moved across them: ``min(s·x, 6)`` is not ``s·min(x, 6)``.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import onnx_ir as ir

from converter.passes.base import Refuse, RewritePass
from converter.passes.linear import Linear, bias_of, rounded, write_bias, write_weight
from converter.passes.values import Array, add_initializer, constant, drop_if_unused
from quantizers.channel_groups import ChannelGroup, channel_groups

# Factors beyond it would only make up numbers for channels that are as good as dead.
_LARGEST_FACTOR = 2.0**12

# Equalizing what is nearly equal only moves rounding errors around.
_LEAST_GAIN = 1.5


class EqualizeChannels(RewritePass):
    """Rescale the channels between linear operators; the model computes the same.

    ``peaks``: the largest magnitude of every channel of an activation, ``[channels]`` by the
    name of the value; without it the largest weights that make a channel stand for it.
    """

    def __init__(self, peaks: Mapping[str, Array] = MappingProxyType({})) -> None:
        self.peaks = peaks

    def rewrite(self, model: ir.Model, refuse: Refuse) -> bool:
        """Equalize every group of channels that can be."""
        return bool(equalize_channels(model, self.peaks, refuse))

    def __repr__(self) -> str:
        return f"EqualizeChannels(peaks of {len(self.peaks)} values)"


def equalize_channels(
    model: ir.Model,
    peaks: Mapping[str, Array] = MappingProxyType({}),
    refuse: Refuse = lambda node, reason: None,
) -> dict[str, Array]:
    """Do what ``EqualizeChannels`` does; give the factors, ``[channels]`` by value name."""
    factors: dict[str, Array] = {}
    for group in channel_groups(model.graph, refuse):
        factor = _factor(group, peaks)
        if factor is None:
            continue
        _apply(group, factor, model.graph)
        factors.update({str(value.name): factor for value in group.axes})
    return factors


def _factor(group: ChannelGroup, peaks: Mapping[str, Array]) -> Array | None:
    activation = np.zeros(group.channels)
    for value in group.axes:
        found = peaks.get(str(value.name))
        if found is not None and found.shape == activation.shape:
            activation = np.maximum(activation, found)
    if not peaks:
        for maker in group.makers:
            activation = np.maximum(activation, _output_peaks(maker, maker.weight_array()))
            activation = np.maximum(activation, np.abs(bias_of(maker)))
    weight = np.zeros(group.channels)
    shared = False
    if any(maker.output_channels != group.channels for maker in group.makers):
        return None
    for reader in group.readers:
        if reader.input_channels != group.channels:
            return None
        if not _is_depthwise(reader):
            weight = np.maximum(weight, _relative_input_peaks(reader))
            shared = True
    alive = activation > 0
    if shared:
        alive &= weight > 0
    if not alive.any():
        return None
    factor = np.ones(group.channels)
    wanted = np.sqrt(weight[alive] / activation[alive]) if shared else 1.0 / activation[alive]
    wanted /= np.exp(np.log(wanted).mean())
    factor[alive] = np.clip(wanted, 1 / _LARGEST_FACTOR, _LARGEST_FACTOR)
    return factor if factor.max() > _LEAST_GAIN * factor.min() else None


def _apply(group: ChannelGroup, factor: Array, graph: ir.Graph) -> None:
    for maker in group.makers:
        weight, bias = maker.weight_array(), bias_of(maker)
        new = rounded(maker.scale_outputs(weight, factor), maker.weight_value)
        if maker.bias is not None and np.any(bias):
            write_bias(maker, (bias * factor).astype(new.dtype), graph)
        write_weight(maker, new, graph)
    for reader in group.readers:
        weight = reader.weight_array()
        new = rounded(reader.scale_inputs(weight, 1.0 / factor), reader.weight_value)
        write_weight(reader, new, graph)
    for node in group.norms:
        for index in range(1, len(node.inputs)):
            _multiply(node, index, factor, graph)
    for node, index in group.vectors:
        _multiply(node, index, factor, graph)


def _multiply(node: ir.Node, index: int, factor: Array, graph: ir.Graph) -> None:
    old = node.inputs[index]
    array = constant(old)
    if old is None or array is None:
        return
    shaped = factor.reshape([-1 if dim != 1 else 1 for dim in array.shape])
    new = (array.astype(np.float64) * shaped).astype(array.dtype)
    node.replace_input_with(index, None)
    drop_if_unused([old])
    node.replace_input_with(index, add_initializer(graph, str(old.name), new))


def _is_depthwise(reader: Linear) -> bool:
    """Whether every output reads one input, so that its weight scale absorbs any factor."""
    return reader.groups == reader.input_channels


def _output_peaks(maker: Linear, weight: Array) -> Array:
    """Largest magnitude of the weights that make each output channel."""
    channel = np.arange(maker.output_channels, dtype=np.float64)
    return _peaks_by(maker.scale_outputs(np.ones_like(weight), channel), weight, channel.size)


def _relative_input_peaks(reader: Linear) -> Array:
    """Largest weight on every input channel, each output's weights in units of their largest."""
    weight = reader.weight_array()
    outputs = _output_peaks(reader, weight)
    scaled = reader.scale_outputs(weight, 1.0 / np.where(outputs > 0, outputs, 1.0))
    channel = np.arange(reader.input_channels, dtype=np.float64)
    return _peaks_by(reader.scale_inputs(np.ones_like(weight), channel), scaled, channel.size)


def _peaks_by(label: Array, weight: Array, channels: int) -> Array:
    """The largest magnitude of ``weight`` under each ``label`` (channel numbers)."""
    peaks = np.zeros(channels)
    np.maximum.at(peaks, label.astype(np.int64).reshape(-1), np.abs(weight).reshape(-1))
    return peaks
