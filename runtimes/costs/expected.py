"""How long kernels should take, by what they compute and move: no clock is asked.

A search that compares hundreds of cut models needs to know what each channel is worth, and not what
a moment of this machine made of it: a reading that is off by a tenth sends it another way, and
every table would find other cuts. What is expected is the same everywhere, is there at once, and
tells kernels apart as well as it takes: half of 5,400 readings of one machine lie within a fifth
of it, and those of large convolutions and products within a tenth. What is shipped, the readings of
the cost table decide.

The form is a roofline (https://doi.org/10.1145/1498765.1498785) whose parts add up: starting a
kernel, multiply-adds in whole blocks of channels, what is copied to line them up, and bytes. The
numbers were fitted to readings of ONNX Runtime 1.32 on one thread of an AVX-512 VNNI machine.
"""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace

from runtimes.base import Feed
from runtimes.costs.kernels import Executed, Kernel, Tensor, trace_kernels
from runtimes.costs.machine import Machine, this_machine
from runtimes.costs.open_costs import Costs
from runtimes.costs.table import CostTable, Reading
from runtimes.onnx_files.load_save import ModelSource

_BYTES = {"uint8": 1, "int8": 1, "bool": 1, "float16": 2, "bfloat16": 2, "int64": 8, "double": 8}
_BLOCK, _INT8_DEPTH = 16, 4
_BLOCKED = "nchwc."
_RUN_MICROSECONDS = 4.4
# Half of the kernels lie within it.
_SPREAD = 0.2


@dataclass(frozen=True)
class Rates:
    """Microseconds to start a kernel, and for a thousand of what it does.

    ``macs``: multiply-adds; ``copied``: numbers lined up for them, or what else a kernel does over
    and over, such as the steps of a sequence; ``moved``: bytes of activations read and written;
    ``weights``: bytes of constants.
    """

    start: float
    macs: float = 0.0
    copied: float = 0.0
    moved: float = 0.02
    weights: float = 0.0


# By what a kernel does, and whether it computes in float.
_CONV = {True: Rates(0.43, 0.0147, 0.04, 0.01, 0.003), False: Rates(1.37, 0.0032, 0.05, 0.05)}
_POINTWISE = {True: Rates(0.4, 0.0107, 0.0, 0.02, 0.007), False: Rates(0.83, 0.0025, 0.0, 0.08)}
_TRANSPOSED = {True: Rates(0.76, 0.0012, 0.24, 0.043), False: Rates(1.37, 0.0012, 0.24, 0.043)}
_DEPTHWISE = {True: Rates(0.37, 0.005, 0.0, 0.035, 0.02), False: Rates(0.93, 0.024, 1.8)}
# Convolutions that ONNX Runtime does not lay out in blocks start anew for each channel.
_DEPTHWISE_BY_CHANNEL = {True: Rates(0.7, 0.04, 140.0), False: Rates(0.93, 0.024, 1.8)}
_PRODUCT = {True: Rates(0.25, 0.0123, 0.0, 0.045, 0.02), False: Rates(0.5, 0.0035, 0.0, 0.06, 0.01)}
_RECURRENT = {True: Rates(0.5, 0.0143, 190.0), False: Rates(0.5, 0.0109, 315.0)}
_OTHER = {True: Rates(0.2), False: Rates(0.3, moved=0.045)}
_BY_NAME = {
    "MaxPool": {True: Rates(0.37, moved=0.047), False: Rates(0.5, moved=1.2)},
    "NhwcMaxPool": {True: Rates(0.4, moved=0.05), False: Rates(0.76, moved=0.1)},
    "PRelu": {True: Rates(0.23, moved=0.11), False: Rates(0.23, moved=0.11)},
    "Concat": {True: Rates(0.49, moved=0.027), False: Rates(0.49, moved=0.045)},
    "Gather": {True: Rates(0.4, moved=0.045), False: Rates(0.34, moved=0.15)},
    "LayerNormalization": {True: Rates(1.0, moved=0.05), False: Rates(1.0, moved=0.1)},
    "SkipLayerNormalization": {True: Rates(0.5, moved=0.4), False: Rates(0.5, moved=0.4)},
    "ReduceMean": {True: Rates(0.4, moved=0.03), False: Rates(0.4, moved=0.05)},
}
_CONVOLUTIONS = ("Conv", "FusedConv", "QLinearConv", "ConvInteger", "ConvTranspose", "NhwcConv")
_PRODUCTS = (
    *("Gemm", "FusedGemm", "QGemm", "MatMul", "FusedMatMul", "QLinearMatMul", "MatMulInteger"),
    *("MatMulIntegerToFloat", "DynamicQuantizeMatMul", "TransposeMatMul"),
)
_RECURRENTS = ("LSTM", "GRU", "RNN", "DynamicQuantizeLSTM")
# A function of each number, such as an exponential, and what goes over them twice.
_CURVES = ("Softmax", "Sigmoid", "Tanh", "Erf", "Gelu", "BiasGelu", "FastGelu", "QuickGelu", "Exp")
_CURVE = {True: Rates(0.25, moved=0.07), False: Rates(0.3, moved=0.1)}
_BY_NAME |= dict.fromkeys(_CURVES, _CURVE)


def expected_microseconds(kernel: Kernel) -> float:
    """What a run of ``kernel`` should take."""
    rates, macs, copied = _work(kernel)
    read = [one for one in kernel.inputs if one is not None]
    moved = sum(_bytes(one) for one in (*read, *kernel.outputs) if not one.constant)
    weights = sum(_bytes(one) for one in read if one.constant)
    thousands = (rates.macs * macs, rates.copied * copied, rates.moved * moved)
    return rates.start + (sum(thousands) + rates.weights * weights) / 1e3


def _work(kernel: Kernel) -> tuple[Rates, float, float]:
    """The rates of a kernel, its multiply-adds, and how often ``Rates.copied`` counts."""
    name = kernel.op_type
    read = [one for one in kernel.inputs if one is not None and one.shape]
    is_float = not any(one.dtype in {"uint8", "int8"} for one in read)
    is_blocked = _BLOCKED in kernel.signature
    if name in _CONVOLUTIONS and kernel.outputs:
        weight = next((one.shape for one in read[1:] if len(one.shape) > 2), ())
        if weight:
            return _convolution(kernel, read[0].shape, weight, is_float=is_float)
    if name in _PRODUCTS and kernel.outputs and read:
        return _PRODUCT[is_float], math.prod(kernel.outputs[0].shape) * read[0].shape[-1], 0.0
    if name in _RECURRENTS and read:
        weights = [one.shape for one in read if one.constant and len(one.shape) == 3]
        steps, batch = (*read[0].shape, 1, 1)[:2]
        directions = max((shape[0] for shape in weights), default=1)
        return (
            _RECURRENT[is_float],
            sum(map(math.prod, weights)) * steps * batch,
            steps * directions,
        )
    rates = _OTHER if is_blocked else _BY_NAME.get(name, _OTHER)
    return rates[is_float], 0.0, 0.0


def _convolution(
    kernel: Kernel, read: Sequence[int], weight: Sequence[int], *, is_float: bool
) -> tuple[Rates, float, float]:
    """The same of a convolution, of which each number of ``weight`` is used at every place."""
    channels, depth, window = weight[0], weight[1], math.prod(weight[2:])
    is_transposed = kernel.op_type == "ConvTranspose"
    # Of the first axis of the weight there are as many channels in what is read, transposed.
    places = math.prod(read if is_transposed else kernel.outputs[0].shape) / max(1, channels)
    copied = places * depth * window
    if is_transposed:
        rates = _TRANSPOSED
    elif depth == 1 and is_float and _BLOCKED not in kernel.signature:
        rates, copied = _DEPTHWISE_BY_CHANNEL, channels
    elif depth == 1:
        rates = _DEPTHWISE
    else:
        rates = _POINTWISE if window == 1 else _CONV
        depth = depth if is_float else _up(depth, _INT8_DEPTH)
    return rates[is_float], places * _up(channels, _BLOCK) * depth * window, copied


def _up(count: int, block: int) -> int:
    return -(-count // block) * block


def _bytes(tensor: Tensor) -> int:
    return math.prod(tensor.shape) * _BYTES.get(tensor.dtype, 4)


class ExpectedWorkbench:
    """This machine tells which kernels run; how long they take is expected."""

    keeps = False

    def machine(self, threads: int) -> Machine:
        """Any machine."""
        return replace(this_machine(threads), cpu="expected")

    def trace(
        self, model: ModelSource, feed: Feed, threads: int | None, known: Container[str]
    ) -> tuple[Executed, ...]:
        """One run under the profiler; no weights are kept."""
        return trace_kernels(model, feed, threads=threads, known=_Everything())

    def measure(self, unknown: Sequence[Executed], table: CostTable) -> tuple[str, ...]:
        """Add what is expected."""
        table.yardsticks.setdefault("none", 1.0)
        table.run_microseconds = _RUN_MICROSECONDS
        for one in unknown:
            reading = Reading.of(expected_microseconds(one.kernel), _SPREAD, 1)
            table.readings[one.kernel.signature] = reading
        return ()


class _Everything:
    def __contains__(self, _: object) -> bool:
        return True


def search_costs(costs: Costs | None, threads: int = 1) -> Costs:
    """By what a search compares many models of one kind, where ``costs`` decide what is shipped.

    What is expected, the same on every machine; but a table that the user gave, or that of another
    engine or device, speaks for what cannot be expected here.
    """
    if costs is not None and (costs.given or not costs.is_local):
        return costs
    bench = ExpectedWorkbench()
    return Costs(CostTable(bench.machine(threads)), bench=bench)
