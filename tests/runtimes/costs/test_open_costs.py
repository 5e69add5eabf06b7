"""Costs are measured once, kept where that is possible, and then read."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from runtimes import DataError
from runtimes.costs import Costs, CostTable, open_costs
from runtimes.costs import open_costs as module_function
from runtimes.costs.machine import this_machine
from runtimes.costs.open_costs import cache_file

FEED = {"x": np.ones((1, 1, 12, 12), np.float32)}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def network(graph: Any) -> ir.Model:
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.standard_normal((16, 1, 3, 3)).astype(np.float32),
        "v": rng.standard_normal((1600, 4)).astype(np.float32),
    }
    body = """
        c = Conv (x, w)
        r = Relu (c)
        f = Flatten (r)
        y = MatMul (f, v)
    """
    return graph("(float[N, 1, 12, 12] x) => (float[N, 4] y)", body, **weights)


def never(*_: object) -> None:
    raise AssertionError("measured again")


def forbid_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("measure", "measure_yardsticks", "measure_in_situ"):
        monkeypatch.setitem(module_function.__globals__, name, never)


def test_the_parts_add_up(network: ir.Model) -> None:
    found = open_costs().predict(network, FEED)
    kernels = sum(time for _, time in found.kernels)
    assert 0 < kernels < found.microseconds
    assert found.uncertainty > 0
    assert all(time > 0 for _, time in found.kernels)


def test_a_second_run_measures_nothing_and_says_the_same(
    network: ir.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    costs = open_costs()
    first = costs.predict(network, FEED).microseconds
    forbid_measuring(monkeypatch)
    again = open_costs()
    assert again.predict(network, FEED).microseconds == first
    assert again.digest == costs.digest
    assert again.to_dict()["kernels"] == len(set(costs.table))


def test_a_damaged_cache_is_measured_anew(network: ir.Model) -> None:
    path = cache_file(this_machine(1))
    path.parent.mkdir(parents=True)
    path.write_text('{"format": "kilnx.costs", "version"')
    open_costs().predict(network, FEED)
    assert len(CostTable.read(path)) > 0


def test_a_cache_that_cannot_be_written_is_done_without(network: ir.Model, own_cache: Path) -> None:
    own_cache.write_text("a file where the folder should be")
    assert open_costs().predict(network, FEED).microseconds > 0
    assert own_cache.read_text() == "a file where the folder should be"


def test_two_writers_lose_nothing(network: ir.Model) -> None:
    one, other = open_costs(), open_costs()
    one.predict(network, FEED)
    other.predict(network, {"x": np.ones((3, 1, 12, 12), np.float32)})
    kept = CostTable.read(cache_file(this_machine(1)))
    assert set(kept) == set(one.table) | set(other.table)


def test_a_given_table_decides_and_is_not_written(network: ir.Model, tmp_path: Path) -> None:
    costs = open_costs("none")
    costs.predict(network, FEED)
    costs.table.write(tmp_path / "table.json")
    before = (tmp_path / "table.json").read_bytes()
    given = open_costs(tmp_path / "table.json")
    given.predict(network, {"x": np.ones((2, 1, 12, 12), np.float32)})
    assert (tmp_path / "table.json").read_bytes() == before
    assert not cache_file(this_machine(1)).exists()


def foreign(costs: Costs, slower: float) -> CostTable:
    """The table of a machine that is so much slower at everything."""
    table = costs.table
    machine = replace(table.machine, cpu="another CPU")
    readings = {
        name: replace(one, microseconds=one.microseconds * slower)
        for name, one in table.readings.items()
    }
    yardsticks = {name: value * slower for name, value in table.yardsticks.items()}
    return CostTable(machine, yardsticks, (table.run_microseconds or 0) * slower, readings)


def test_a_table_of_another_machine_is_said_and_measured_anew(network: ir.Model) -> None:
    here = open_costs()
    own = here.predict(network, FEED).microseconds
    costs = open_costs(foreign(here, 10.0))
    assert costs.predict(network, FEED).microseconds == own
    assert len(costs.notes) == 1
    assert "another CPU" in costs.notes[0]


def test_a_trusted_table_decides_for_its_machine(network: ir.Model) -> None:
    """What it lacks is measured here, and scaled by the yardsticks of both."""
    here = open_costs()
    own = here.predict(network, FEED).microseconds
    costs = open_costs(foreign(here, 10.0), trust=True)
    assert costs.predict(network, FEED).microseconds == pytest.approx(10 * own, rel=1e-3)
    more = {"x": np.ones((5, 1, 12, 12), np.float32)}
    theirs = costs.predict(network, more).microseconds
    assert theirs == pytest.approx(10 * open_costs().predict(network, more).microseconds, rel=0.02)


def test_a_loop_is_timed_where_it_runs(graph: Any) -> None:
    body = """
        yes = Constant <value = bool {1}> ()
        y = Loop (count, yes, x) <body = inner (int64 i, bool c, float[4] a) =>
            (bool d, float[4] b) { d = Identity (c)  b = Add (a, a) }>
    """
    model = graph("(float[4] x, int64 count) => (float[4] y)", body)
    feed = {"x": np.ones(4, np.float32), "count": np.array(5)}
    found = open_costs().predict(model, feed)
    loops = [one for one, _ in found.kernels if one.kernel.op_type == "Loop"]
    assert len(loops) == 1
    assert not loops[0].kernel.can_be_isolated


def test_a_missing_file_is_one_line() -> None:
    with pytest.raises(DataError, match="cannot be read"):
        open_costs("no/such/table.json")


def test_floats_that_steer_are_not_made_up(graph: Any) -> None:
    """Made-up scales are refused by ONNX Runtime; the resize is timed where it runs."""
    body = 'y = Resize <mode = "nearest"> (x, , factors)'
    model = graph("(float[1, 1, 4, 4] x, float[4] factors) => (float[a, b, c, d] y)", body)
    feed = {"x": np.ones((1, 1, 4, 4), np.float32), "factors": np.array([1, 1, 2, 2], np.float32)}
    ((resize, time),) = open_costs().predict(model, feed).kernels
    assert resize.kernel.op_type == "Resize"
    assert time > 0


def test_no_model_stays_in_memory(network: ir.Model) -> None:
    """Of a kernel that is known no weights are kept, of others their own alone."""
    costs = open_costs()
    first = costs._trace(network, FEED)
    weights = [one.kernel.node for one in first if one.kernel.node is not None]
    assert weights
    assert all(node.graph is None for node in weights)
    costs.predict(network, FEED)
    assert all(one.kernel.node is None for one in costs._trace(network, FEED))
