"""Cross-layer equalization: channels of one tensor brought to like ranges before rounding.

All channels of an activation share one grid, so a channel of small range keeps few of the 256
codes. A factor a channel moves the inequality into the weights that read the tensor, where it
costs codes in turn unless each channel has a scale of its own (depthwise). Factors
``s = wᵃ / rᵇ`` of a channel's range ``r`` and largest weight ``w`` are tried, and those with the
least noise at what the readers compute are taken: a = b = 1/2 is the equalization of Nagel et
al. 2019 (arXiv:1906.04721) and, behind a normalization, SmoothQuant (Xiao et al. 2023,
arXiv:2211.10438); a = 0, b = 1 gives all to the activations.

ReLU6 and other bounds that are one number for all channels do not let factors through, and
nothing is moved across them: ``min(s·x, 6)`` is not ``s·min(x, 6)``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import onnx_ir as ir

from quantizers.equalization.channel_groups import ChannelGroup, channel_groups
from runtimes.onnx_graph.linear import Linear, bias_of, rounded, write_bias
from runtimes.onnx_graph.rewrite import Refuse
from runtimes.onnx_graph.values import Array, add_initializer, constant, drop_if_unused

# Factors beyond it would only make up numbers for channels that are as good as dead.
_LARGEST_FACTOR = 2.0**12

# Factors that are tried: powers of the largest weight over powers of the range.
_WEIGHT_POWERS = (0.0, 0.25, 0.5)
_RANGE_POWERS = (0.25, 0.5, 0.75, 1.0)

# The noise has to fall to this at least: what is nearly equal already is left alone.
_GAIN = 0.8


def equalize_channels(
    model: ir.Model,
    peaks: Mapping[str, Array] = MappingProxyType({}),
    refuse: Refuse = lambda node, reason: None,
) -> dict[str, Array]:
    """Rescale the channels between linear operators; the model computes the same.

    ``peaks``: the largest magnitude of every channel of an activation, ``[channels]`` by the
    name of the value; without it the largest weights that make a channel stand for it. Gives the
    factors, ``[channels]`` by value name; ``refuse`` is told what lets none through.
    """
    factors: dict[str, Array] = {}
    for group in channel_groups(model.graph, refuse):
        factor = _factor(group, peaks)
        if factor is None:
            continue
        rescale(group, factor, model.graph)
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
    alive = activation > 0
    # Every tensor of the group has a grid of its own, and rounds what all readers get to see.
    known = [peaks.get(str(value.name)) for value in group.axes]
    ranges = [one for one in known if one is not None and one.shape == activation.shape]
    ranges = ranges or [activation]
    readers = []
    for reader in group.readers:
        read = reader.node.inputs[reader.data]
        own = peaks.get(str(read.name), activation) if read is not None else activation
        own = own if own.shape == activation.shape else activation
        readers.append(_Reader.of(reader, own, ranges))
    weight = np.max([reader.peaks.max(axis=0) for reader in readers], axis=0)
    alive &= weight > 0
    if not alive.any():
        return None
    least, best = _GAIN * sum(reader.noise(np.ones(group.channels)) for reader in readers), None
    for up in _WEIGHT_POWERS:
        for down in _RANGE_POWERS:
            factor = np.ones(group.channels)
            wanted = weight[alive] ** up / activation[alive] ** down
            factor[alive] = wanted / np.exp(np.log(wanted).mean())
            factor = np.clip(factor, 1 / _LARGEST_FACTOR, _LARGEST_FACTOR)
            noise = sum(reader.noise(factor) for reader in readers)
            if noise < least:
                least, best = noise, factor
    return best


@dataclass(frozen=True)
class _Reader:
    """What rounding costs at an operator that reads the channels.

    ``peaks`` and ``energy`` (sum of squares) of its weights over the taps, ``[outputs, channels]``
    (for a depthwise convolution ``[1, channels]``); ``ranges``: peaks of the channels of what it
    reads, ``grids``: of every tensor of the group.
    """

    peaks: Array
    energy: Array
    taps: int
    depthwise: bool
    ranges: Array
    grids: list[Array]

    @classmethod
    def of(cls, reader: Linear, ranges: Array, grids: list[Array]) -> _Reader:
        outputs = np.arange(reader.output_channels, dtype=np.float64)
        inputs = np.arange(reader.input_channels, dtype=np.float64)
        weight = reader.weight_array()
        ones = np.ones_like(weight)
        column = reader.scale_inputs(ones, inputs).astype(np.int64)
        depthwise = reader.groups == reader.input_channels
        row = np.zeros_like(column)
        if not depthwise:
            row = reader.scale_outputs(ones, outputs).astype(np.int64)
        shape = (1 if depthwise else reader.output_channels, reader.input_channels)
        peaks, energy = np.zeros(shape), np.zeros(shape)
        np.maximum.at(peaks, (row, column), np.abs(weight))
        np.add.at(energy, (row, column), np.square(weight))
        taps = weight.size // max(1, int(np.count_nonzero(peaks >= 0)))
        return cls(peaks, energy, max(1, taps), depthwise, ranges, grids)

    def noise(self, factor: Array) -> float:
        """Noise of rounded values and weights over the signal, on average of the outputs."""
        power = np.square(self.ranges * factor) / 9  # the peak is some three deviations
        weights = self.energy / np.square(factor)
        step = sum(np.square(2 * np.max(grid * factor)) for grid in self.grids) * weights
        if self.depthwise:  # its weights have a scale a channel: their noise does not change
            signal = weights * power
            return float(np.mean(step / np.where(signal > 0, signal, np.inf)))
        rounding = np.square(2 * np.max(self.peaks / factor, axis=1)) * self.taps * power.sum()
        signal = (weights * power).sum(axis=1)
        return float(np.mean((step.sum(axis=1) + rounding) / np.where(signal > 0, signal, np.inf)))


def rescale(group: ChannelGroup, factor: Array, graph: ir.Graph) -> None:
    """Multiply the channels of ``group`` by ``factor`` (positive); the model stays the same."""
    for maker in group.makers:
        weight, bias = maker.weight_array(), bias_of(maker)
        new = rounded(maker.scale_outputs(weight, factor), maker.weight_value)
        if maker.bias is not None and np.any(bias):
            write_bias(maker, (bias * factor).astype(new.dtype), graph)
        _replace(maker.node, maker.weight, new, graph)
    for reader in group.readers:
        weight = reader.weight_array()
        new = rounded(reader.scale_inputs(weight, 1.0 / factor), reader.weight_value)
        _replace(reader.node, reader.weight, new, graph)
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
    _replace(node, index, new, graph)


def _replace(node: ir.Node, index: int, array: Array, graph: ir.Graph) -> None:
    """Give ``node`` another constant, under the old one's name."""
    old = node.inputs[index]
    assert old is not None
    node.replace_input_with(index, None)
    drop_if_unused([old])
    node.replace_input_with(index, add_initializer(graph, str(old.name), array))


def _output_peaks(maker: Linear, weight: Array) -> Array:
    """Largest magnitude of the weights that make each output channel."""
    channel = np.arange(maker.output_channels, dtype=np.float64)
    return _peaks_by(maker.scale_outputs(np.ones_like(weight), channel), weight, channel.size)


def _peaks_by(label: Array, weight: Array, channels: int) -> Array:
    """The largest magnitude of ``weight`` under each ``label`` (channel numbers)."""
    peaks = np.zeros(channels)
    np.maximum.at(peaks, label.astype(np.int64).reshape(-1), np.abs(weight).reshape(-1))
    return peaks
