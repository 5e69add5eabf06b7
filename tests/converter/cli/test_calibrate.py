"""``kilnx calibrate``, and ``kilnx quantize --statistics`` on what it wrote."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from converter.compression import quantize as judge
from converter.compression.gain import Gain
from runtimes import ProfileReport, profile

Kilnx = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def decided_race(monkeypatch: pytest.MonkeyPatch) -> None:
    """INT8 wins, whatever the clock of this machine says."""

    def quick(*models: object, **options: object) -> ProfileReport:
        return profile(*models, **{**options, "min_time": 0.02})

    monkeypatch.setattr(judge, "profile", quick)
    monkeypatch.setattr(judge.Gain, "predicted", lambda *_: Gain(0.3, ((1, 2.0),), True, False))
    monkeypatch.setattr(judge, "lost_races", lambda *_: None)


@pytest.fixture
def parts(kilnx: Kilnx, model: Path, tmp_path: Path) -> Path:
    """The pattern of the statistics of both shards of the data beside the model."""
    for index in range(2):
        data, output = tmp_path / "data.npz", tmp_path / f"part{index}.stats"
        options = ("--data", data, "--shard", f"{index}/2")
        code, out, err = kilnx("calibrate", model, "-o", output, *options)
        assert code == 0, err
        assert "32 of 64 samples observed" in out
    x = np.random.default_rng(2).standard_normal((40, 64)).astype(np.float32)
    np.savez(tmp_path / "eval.npz", x=x)
    return tmp_path / "part*.stats"


def test_a_pattern_names_all_shards(kilnx: Kilnx, model: Path, parts: Path, tmp_path: Path) -> None:
    rest = ("--eval", tmp_path / "eval.npz", "--prefer", "size", "--json")
    found = []
    for name, source in (("a", ("--statistics", parts)), ("b", ("--data", tmp_path / "data.npz"))):
        code, out, err = kilnx("quantize", model, "-o", tmp_path / f"{name}.onnx", *source, *rest)
        assert code == 0, err
        assert json.loads(out)["calibration_samples"] == 64
        found.append((tmp_path / f"{name}.onnx").read_bytes())
    assert found[0] == found[1]


def test_what_is_missing_is_said(kilnx: Kilnx, model: Path, parts: Path, tmp_path: Path) -> None:
    output = ("-o", tmp_path / "int8.onnx")
    rest = ("--eval", tmp_path / "eval.npz")
    one = tmp_path / "part1.stats"
    for options, message in (
        (("--statistics", one, *rest), "lack the samples 0 to 31 of 64"),
        (("--statistics", tmp_path / "none*.stats", *rest), "no such file"),
        (("--statistics", parts), "give others with --eval"),
        (rest, "give data, or the statistics"),
    ):
        code, _, err = kilnx("quantize", model, *output, *options)
        assert code == 2
        assert message in " ".join(err.split())


def test_json_says_what_is_in_the_file(kilnx: Kilnx, model: Path, tmp_path: Path) -> None:
    options = ("--data", tmp_path / "data.npz", "--json")
    code, out, err = kilnx("calibrate", model, "-o", tmp_path / "all.stats", *options)
    assert code == 0, err
    report = json.loads(out)
    assert report["samples"] == report["total"] == report["kept"] == 64
    assert report["intervals"] == [[0, 64]]
    code, _, err = kilnx("calibrate", model, "-o", tmp_path / "all.stats", *options)
    assert code == 2
    assert "--force" in err
