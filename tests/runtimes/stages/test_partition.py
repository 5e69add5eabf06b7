"""Stages answer like the whole model, or are not written."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from chain_graph import chain

from runtimes import BudgetError, DataError, KilnxError, ModelError, open_runtime
from runtimes.costs import CostTable
from runtimes.costs.machine import this_machine
from runtimes.stages.boundaries import Span, find_boundaries
from runtimes.stages.manifest import MANIFEST, read_manifest
from runtimes.stages.partition import partition
from runtimes.stages.staged import StagedRuntime

WIDTHS = (16, 24, 24, 40, 8)
X = np.random.default_rng(1).normal(size=(5, 16)).astype(np.float32)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "chain.onnx"
    ir.save(chain(WIDTHS), path)
    return path


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("count", [2, 3])
def test_stages_answer_like_the_whole_model(
    model: Path, tmp_path: Path, exact: bool, count: int
) -> None:
    report = partition(
        model, tmp_path / "stages", stages=count, exact=exact, even_if_slower=True, costs="none"
    )
    assert len(report.stages) == count
    assert sum(stage.microseconds for stage in report.stages) == pytest.approx(report.microseconds)
    with open_runtime(model) as whole, StagedRuntime(tmp_path / "stages") as staged:
        assert [spec.name for spec in staged.outputs] == [spec.name for spec in whole.outputs]
        expected, found = whole.run({"x": X}), staged.run({"x": X})
    for name, array in expected.items():
        if exact:
            np.testing.assert_array_equal(found[name], array)
        else:
            np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-5)


def test_the_same_table_cuts_in_the_same_places(model: Path, tmp_path: Path) -> None:
    table = CostTable(this_machine(1), {}, None)
    partition(model, tmp_path / "first", stages=3, even_if_slower=True, costs=table)
    again = CostTable.from_json(table.to_json())
    partition(model, tmp_path / "second", stages=3, even_if_slower=True, costs=again)
    for path in (tmp_path / "first").iterdir():
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes()


def test_weights_decide_how_many_stages_there_are(model: Path, tmp_path: Path) -> None:
    largest = 4 * max(a * b for a, b in itertools.pairwise(WIDTHS))
    report = partition(model, tmp_path / "stages", max_bytes=largest, costs="none")
    assert len(report.stages) > 2
    assert max(stage.weight_bytes for stage in report.stages) <= largest
    with pytest.raises(DataError, match="fewer than"):
        partition(model, tmp_path / "other", max_bytes=largest - 1, costs="none")
    assert not (tmp_path / "other").exists()


def test_copies_that_are_faster_are_recommended(model: Path, tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match="2 copies of the whole model"):
        partition(model, tmp_path / "stages", stages=2, costs="none")
    assert not (tmp_path / "stages").exists()
    report = partition(model, tmp_path / "stages", devices=["cpu", "cuda:0"], costs="none")
    assert [one.device for one in read_manifest(tmp_path / "stages").stages] == ["cpu", "cuda:0"]
    assert report.copies_gain >= 1


def test_a_folder_of_the_users_is_not_replaced(model: Path, tmp_path: Path) -> None:
    target = tmp_path / "stages"
    partition(model, target, stages=2, even_if_slower=True, costs="none")
    with pytest.raises(DataError, match="existing folder"):
        partition(model, target, stages=2, even_if_slower=True, costs="none")
    partition(model, target, stages=3, even_if_slower=True, costs="none", force=True)
    assert len(read_manifest(target).stages) == 3
    (target / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"notes\.txt"):
        partition(model, target, stages=2, even_if_slower=True, costs="none", force=True)


def test_options_that_say_nothing_are_refused(model: Path, tmp_path: Path) -> None:
    for options, message in (
        ({}, "how many stages"),
        ({"stages": 1}, "2 at least"),
        ({"stages": 3, "devices": ["cpu", "cuda:0"]}, "2 devices are given for 3 stages"),
        ({"devices": ["cpu", "cdua"]}, "cuda"),
        ({"devices": ["cpu", "openvino:0"]}, "no device"),
        ({"devices": ["cpu", "http://"]}, "no address"),
        ({"devices": ["cpu", "http://host:x"]}, "no address"),
        ({"devices": ["cpu", "https://host/models/net"]}, "/v2/models/NAME"),
    ):
        with pytest.raises(KilnxError, match=message):
            partition(model, tmp_path / "stages", **options)


def test_what_runs_as_one_is_not_cut() -> None:
    graph = chain(WIDTHS).graph
    nodes = list(graph)
    everywhere = find_boundaries(graph, nodes)
    assert [one.position for one in everywhere] == list(range(1, len(nodes)))
    # Behind the first ReLU the residual sum is still to come: two values travel.
    crossing = {one.position: [value.name for value in one.values] for one in everywhere}
    assert crossing[2] == ["h0"]
    assert len(crossing[3]) == 2
    apart = find_boundaries(graph, nodes, [Span(0, 3)])
    assert [one.position for one in apart] == list(range(4, len(nodes)))


def test_a_model_that_cannot_be_cut_is_refused(tmp_path: Path) -> None:
    single = chain((4, 4))
    with pytest.raises(DataError, match=r"cannot be cut|at most"):
        partition(single, tmp_path / "stages", stages=3, even_if_slower=True, costs="none")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda told: told.update(format=2), "format 2"),
        (lambda told: told["stages"].clear(), "no stage gives"),
        (lambda told: told["stages"].pop(0), "nothing gives"),
        (lambda told: told["stages"][0].update(file="../chain.onnx"), "damaged"),
        (lambda told: told["stages"][0]["files"].update({"/etc/passwd": ""}), "damaged"),
        (lambda told: told["stages"][0].update(inputs="x"), "damaged"),
        (lambda told: told["stages"][0].pop("weight_bytes"), "damaged"),
        (lambda told: told["stages"][0]["files"].update({"stage-1.onnx": "0" * 40}), "was changed"),
        (lambda told: told["stages"][0]["files"].update({"a.onnx.data": "0" * 40}), "is missing"),
    ],
)
def test_a_damaged_folder_is_refused(
    model: Path, tmp_path: Path, change: object, message: str
) -> None:
    partition(model, tmp_path / "stages", stages=2, even_if_slower=True, costs="none")
    path = tmp_path / "stages" / MANIFEST
    told = json.loads(path.read_text())
    change(told)  # type: ignore[operator]
    path.write_text(json.dumps(told))
    with pytest.raises(ModelError, match=message):
        read_manifest(tmp_path / "stages")


def test_a_text_that_is_no_json_is_damaged(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="kilnx partition"):
        read_manifest(tmp_path)
    (tmp_path / MANIFEST).write_text("[" * 100_000)
    with pytest.raises(ModelError, match="damaged"):
        read_manifest(tmp_path)
