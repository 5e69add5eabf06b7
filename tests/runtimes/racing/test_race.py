"""``race``: every file in every engine, judged and timed; what fails ends nothing but its entry."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from runtimes import DataError, ModelError, RuntimeUnavailable, race
from runtimes.engines import provider_table
from runtimes.engines.install_size import install_bytes
from runtimes.engines.installed import Engine, find_engines
from runtimes.racing import process
from runtimes.racing.entrants import files_to_race, short_names, thread_counts
from runtimes.racing.remote import RemoteRuntime
from runtimes.version import installed_version

QUICK = {"thread_counts": [1], "launches": 1, "min_time": 0.001, "large_batch": 4}

# The reference evaluator crashes on one of the files.
FAULTY = """
import os
from runtimes.racing import worker

opened = worker.open_runtime

def faulty(model, provider, **options):
    if provider == "reference" and model.endswith("double.onnx"):
        os.abort()
    return opened(model, provider, **options)

worker.open_runtime = faulty
worker.main()
"""


@pytest.fixture
def files(scaled: Callable[[float], ir.Model], saved: Callable[..., Path]) -> list[Path]:
    """A model of class scores, one with twice the scores, and one that is wrong."""
    return [
        saved(scaled(1.0), "one.onnx"),
        saved(scaled(2.0), "double.onnx"),
        saved(scaled(-1.0), "wrong.onnx"),
    ]


def test_every_file_runs_in_every_engine(
    files: list[Path], scores: np.ndarray, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = tmp_path / "worker.py"
    script.write_text(FAULTY)
    monkeypatch.setattr(process, "COMMAND", (sys.executable, str(script)))
    told: list[str] = []

    def tell(stage: str, done: int | None = None, total: int | None = None) -> None:
        told.append(f"{stage} {total}")

    data = {"x": scores, "labels": scores.argmax(axis=1)}
    report = race(files, data, engines=["cpu", "reference"], progress=tell, **QUICK)
    found = {(one.file, one.provider): one for one in report.entries}
    assert len(found) == 6
    assert found["one.onnx", "cpu"].is_baseline
    # Twice the scores are the same classes, and labels judge by these.
    assert found["double.onnx", "cpu"].in_budget
    assert not found["wrong.onnx", "cpu"].in_budget
    assert "top1" in found["wrong.onnx", "cpu"].verdict
    crashed = found["double.onnx", "reference"]
    assert crashed.refused is not None
    assert "crashed with SIGABRT" in crashed.refused
    assert found["one.onnx", "reference"].in_budget
    for one in report.entries:
        if one.refused is None:
            assert one.latency is not None
            assert one.at_batch is not None
            assert (one.latency.batch, one.at_batch.batch) == (1, 4)
            assert one.latency.runs >= 1
            assert one.load_ms is not None
            assert one.file_bytes > 0
    assert report.passed
    assert report.winner is not None
    assert report.winner.in_budget
    assert report.entries[0].in_budget  # what may be shipped stands first
    assert report.entries[-1].refused is not None
    assert {"judging 6", "racing 5"} <= set(told)
    assert report.to_dict()["settings"]["engines"].keys() == {"cpu", "reference"}


def test_without_labels_agreement_and_sqnr_judge(files: list[Path], scores: np.ndarray) -> None:
    report = race(files[:2], {"x": scores}, engines=["cpu"], **QUICK)
    found = {one.file: one for one in report.entries}
    assert found["one.onnx"].agreement == 1.0
    assert not found["double.onnx"].in_budget  # SQNR of twice the scores is 0 dB
    assert found["double.onnx"].sqnr_db == pytest.approx(0.0, abs=1e-6)
    assert "20 dB" in report.judged_by
    lenient = race(
        files[1], {"x": scores}, engines=["cpu"], min_agreement=0.9, min_sqnr=-1.0, **QUICK
    )
    assert lenient.passed


def test_nothing_inside_the_budget(files: list[Path], scores: np.ndarray) -> None:
    report = race(files[:1], {"x": scores}, engines=["cpu"], min_agreement=1.5, **QUICK)
    assert not report.passed
    assert report.winner is None
    assert "none of 1 entries" in report.headline()


def test_a_fixed_batch_is_timed_at_that_size_only(
    graph: Callable[[str], ir.Model], saved: Callable[..., Path], scores: np.ndarray
) -> None:
    path = saved(graph("net (float[2, 4] x) => (float[2, 4] y) { y = Relu(x) }"))
    report = race(path, {"x": scores}, engines=["cpu"], **QUICK)
    (one,) = report.entries
    assert one.latency is not None
    assert (one.latency.batch, one.at_batch) == (2, None)
    assert any("fixed batch size of 2" in note for note in report.notes)


def test_an_engine_that_is_not_there_is_named(
    files: list[Path], scores: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = provider_table.Provider(
        "openvino", "OpenVINO", "a:b", (), "no_such_module", "openvino"
    )
    monkeypatch.setitem(provider_table.TABLE, "openvino", absent)  # type: ignore[misc]
    with pytest.raises(RuntimeUnavailable, match="OpenVINO is not installed"):
        race(files, {"x": scores}, engines=["cpu", "openvino"])
    with pytest.raises(RuntimeUnavailable, match="did you mean 'openvino'"):
        race(files, {"x": scores}, engines=["openvin"])
    assert "openvino" not in {one.provider for one in find_engines(None)}


def test_what_is_no_model_or_another_one(
    files: list[Path],
    graph: Callable[[str], ir.Model],
    saved: Callable[..., Path],
    scores: np.ndarray,
    tmp_path: Path,
) -> None:
    other = saved(graph("net (float[n, 7] x) => (float[n, 7] y) { y = Relu(x) }"), "other.onnx")
    with pytest.raises(ModelError, match="different inputs"):
        race([files[0], other], {"x": scores}, engines=["cpu"])
    keras = tmp_path / "model.keras"
    keras.write_bytes(b"PK\x03\x04")
    with pytest.raises(ModelError, match=r"kilnx convert .*model\.keras"):
        race([files[0], keras], {"x": scores}, engines=["cpu"])
    with pytest.raises(DataError, match="expects samples of shape"):
        race(files[0], {"x": scores[:, :3]}, engines=["cpu"])
    with pytest.raises(ModelError, match="save it first"):
        files_to_race([ir.load(files[0])])
    with pytest.raises(ModelError, match="no model"):
        files_to_race([])


def test_files_and_threads(files: list[Path]) -> None:
    assert files_to_race([files[0], str(files[0]), files[1]]) == files[:2]
    names = short_names([Path("a/m.onnx"), Path("b/m.onnx"), Path("c/n.onnx")])
    assert list(names.values()) == ["a/m.onnx", "b/m.onnx", "n.onnx"]
    cpu, tract = Engine("cpu", "1", 1, True), Engine("tract", "1", 1, False)
    assert thread_counts(cpu, [1, 4, 1]) == (1, 4)
    assert thread_counts(tract, [1, 4]) == (None,)


def test_the_size_of_a_distribution() -> None:
    assert install_bytes(["numpy"]) > 1_000_000  # type: ignore[operator]
    assert install_bytes(["no-such-package"]) is None
    assert installed_version(["no-such-package", "numpy"]) == np.__version__


def test_a_busy_machine_is_told_of(
    files: list[Path], scores: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RemoteRuntime, "disturbed", lambda self: 0.4)
    report = race(files[0], {"x": scores}, engines=["cpu"], **QUICK)
    assert report.load.waited == 0.4
    assert any("runs waited 40% of the time for a core" in note for note in report.notes)


def test_options_are_checked() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        race("m.onnx", "d.npz", large_batch=0)


def test_keywords_are_checked() -> None:
    arguments: dict[str, Any] = {"engine": ["cpu"]}
    with pytest.raises(TypeError, match="did you mean 'engines'"):
        race("m.onnx", "d.npz", **arguments)
