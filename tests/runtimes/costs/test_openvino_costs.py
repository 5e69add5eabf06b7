"""Costs by OpenVINO's clock: taken once, kept apart from ONNX Runtime's, told by operator."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from runtimes.costs import CostTable, open_costs
from runtimes.costs import openvino_bench as module

pytest.importorskip("openvino")

FEED = {"x": np.ones((2, 3, 12, 12), np.float32)}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.fixture
def network(graph: Any) -> ir.Model:
    weights = {"w": np.ones((8, 3, 3, 3), np.float32), "v": np.ones((800, 4), np.float32)}
    body = """
        [conv] c = Conv (x, w)
        [relu] r = Relu (c)
        [flat] f = Flatten (r)
        [dense] y = MatMul (f, v)
    """
    made: ir.Model = graph("(float[N, 3, 12, 12] x) => (float[N, 4] y)", body, **weights)
    return made


def test_kernels_are_told_by_the_operators_that_went_into_them(network: ir.Model) -> None:
    found = open_costs("none", engine="openvino").predict(network, FEED)
    by_kind = {kernel.kernel.op_type: kernel.origins for kernel, _ in found.kernels}
    assert by_kind["Convolution"] == ("conv", "relu")
    assert by_kind["FullyConnected"] == ("dense",)
    assert found.microseconds >= found.of_kernels > 0


def test_what_is_known_is_not_run_again(network: ir.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    first = open_costs(engine="openvino").predict(network, FEED).microseconds

    def never(*_: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(module, "speed_now", never)
    monkeypatch.setattr(module, "measure_yardsticks", never)
    assert open_costs(engine="openvino").predict(network, FEED).microseconds == first


def test_the_table_is_another_one_than_that_of_onnx_runtime(network: ir.Model) -> None:
    costs = open_costs("none", engine="openvino")
    costs.predict(network, FEED)
    assert "OpenVINO" in str(costs.table.machine)
    again = CostTable.from_json(costs.table.to_json())
    assert again.machine == costs.table.machine != open_costs("none").table.machine
