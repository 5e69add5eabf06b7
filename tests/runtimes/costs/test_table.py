"""A cost table as a file: the same bytes for the same readings, and nothing believed unchecked."""

import json
from pathlib import Path
from typing import Any

import pytest

from runtimes import DataError
from runtimes.costs.machine import Machine, this_machine
from runtimes.costs.table import CostTable, Reading

MACHINE = Machine("a CPU", ("avx2",), "1.20.0", 1)


def table(**readings: float) -> CostTable:
    found = {name: Reading.of(value, 0.012345, 3) for name, value in readings.items()}
    return CostTable(MACHINE, {"matmul": 100.0, "add": 20.0}, 5.0, found)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    first = table(Conv=12.34567, Gemm=3.0)
    first.write(tmp_path / "table.json")
    again = CostTable.read(tmp_path / "table.json")
    assert again == first
    assert again.digest == first.digest
    assert again.readings["Conv"].microseconds == 12.346
    assert [path.name for path in tmp_path.iterdir()] == ["table.json"]


def test_the_order_of_readings_is_no_matter() -> None:
    assert table(Conv=1.0, Gemm=2.0).to_json() == table(Gemm=2.0, Conv=1.0).to_json()
    assert table(Conv=1.0).digest != table(Conv=1.1).digest


def test_what_is_here_stays_when_tables_are_merged() -> None:
    one, other = table(Conv=1.0), table(Conv=9.0, Gemm=2.0)
    one.merge(other)
    assert {name: one.readings[name].microseconds for name in one} == {"Conv": 1.0, "Gemm": 2.0}


def hostile(change: Any) -> str:
    document = json.loads(table(Conv=1.0).to_json())
    change(document)
    return json.dumps(document)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a cost table"),
        ("[1, 2]", "not one that kilnx wrote"),
        ('{"format": "kilnx.costs"', "is not a cost table"),
        ("[" * 100_000, "is not a cost table"),
        (hostile(lambda d: d.update(version=99)), "version 99"),
        (hostile(lambda d: d.update(machine=None)), "which machine"),
        (hostile(lambda d: d.update(machine={"cpu": 1, "features": 3})), "which machine"),
        (hostile(lambda d: d.update(kernels=[])), "is not a cost table"),
        (hostile(lambda d: d["kernels"].update(Conv=[-1.0, 0.1, 3])), "makes no sense"),
        (hostile(lambda d: d["kernels"].update(Conv=[float("nan"), 0.1, 3])), "makes no sense"),
        (hostile(lambda d: d["kernels"].update(Conv=[1.0, float("inf"), 3])), "makes no sense"),
        (hostile(lambda d: d["kernels"].update(Conv=["12", 0.1, 3])), "makes no sense"),
        (hostile(lambda d: d["kernels"].update(Conv=[1.0])), "is not a cost table"),
        (hostile(lambda d: d["kernels"].update({"x" * 60_000: [1.0, 0.1, 3]})), "too long"),
        (hostile(lambda d: d.update(yardsticks={"matmul": 1e300})), "makes no sense"),
        (hostile(lambda d: d.pop("run_microseconds")), "is not a cost table"),
    ],
)
def test_a_damaged_or_hostile_file_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "table.json"
    path.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        CostTable.read(path)
    assert "table.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_text_or_not_there_is_said(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not text"):
        CostTable.read(tmp_path / "b")
    with pytest.raises(DataError, match="cannot be read: No such file"):
        CostTable.read(tmp_path / "missing")


def test_the_machine_is_known_by_what_kernels_are_chosen_by() -> None:
    here = this_machine(1)
    assert here == this_machine(1)
    assert here != this_machine(2)
    assert Machine.from_dict(here.to_dict()) == here
    assert here.onnxruntime[0].isdigit()
