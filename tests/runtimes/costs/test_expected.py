"""What kernels should take: the same everywhere, and about right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from runtimes.costs import CostTable, open_costs, search_costs
from runtimes.costs.expected import ExpectedWorkbench, expected_microseconds
from runtimes.costs.kernels import Kernel, Tensor
from runtimes.costs.machine import this_machine
from tests.support.random_graphs import Builder


def kernel(op_type: str, *inputs: Tensor, out: tuple[int, ...], blocked: bool = True) -> Kernel:
    signature = f"{'com.microsoft.nchwc.' if blocked else ''}{op_type}"
    outputs = (Tensor(inputs[0].dtype, out),)
    return Kernel(signature, op_type, inputs, True, None, {}, outputs)


def conv(
    channels: int, *, dtype: str = "float", size: int = 3, depth: int = 32, side: int = 16
) -> float:
    made = (1, channels, side, side) if dtype == "float" else (1, side, side, channels)
    read = Tensor(dtype, (1, depth, side, side))
    weight = Tensor("int8" if dtype == "uint8" else dtype, (channels, depth, size, size), True)
    return expected_microseconds(kernel("Conv", read, weight, out=made))


# Medians of readings of ONNX Runtime 1.32 on one thread of an AVX-512 VNNI machine.
@pytest.mark.parametrize(
    ("found", "measured"),
    [
        (conv(128, depth=128, side=8), 144.851),
        (conv(128, dtype="uint8", depth=128, side=8), 42.826),
        (conv(16, dtype="uint8", depth=12, side=32), 16.71),
        (
            expected_microseconds(
                kernel(
                    "MatMul",
                    Tensor("float", (128, 256)),
                    Tensor("float", (256, 256), True),
                    out=(128, 256),
                )
            ),
            122.399,
        ),
    ],
)
def test_large_kernels_are_near_to_readings(found: float, measured: float) -> None:
    assert measured / 1.4 < found < measured * 1.4


def test_whole_blocks_of_channels_cost_the_same() -> None:
    assert conv(17) == pytest.approx(conv(32), rel=0.1)
    assert conv(32) > 1.5 * conv(16)
    assert conv(64, size=1) < conv(64) / 4
    assert conv(64, dtype="uint8") < conv(64) / 2


def test_a_search_asks_no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    build = Builder(0)
    graph = build.model(
        build.op("Relu", build.op("MatMul", build.input(["N", 4]), build.weight(4, 8)))
    )

    def measured(*_: Any) -> Any:
        raise AssertionError("a kernel was timed")

    monkeypatch.setattr("runtimes.costs.workbench.measure", measured)
    feed = {"x": np.zeros((2, 4), np.float32)}
    costs = open_costs("none")
    one, other = (search_costs(costs).predict(graph, feed) for _ in range(2))
    assert one.microseconds == other.microseconds > 4
    assert one.kernels


def test_a_table_that_the_user_gave_decides() -> None:
    given = open_costs(CostTable(this_machine(1)))
    assert search_costs(given) is given
    assert search_costs(None).table.machine == ExpectedWorkbench().machine(1)
