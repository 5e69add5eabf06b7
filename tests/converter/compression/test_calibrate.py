"""``calibrate``: shards of the data make the model that the whole makes, byte for byte."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shard_workers import workers_of_this_process

from converter import calibrate
from converter.compression import quantize as judge
from converter.compression.gain import Gain
from quantizers import quantize
from quantizers.calibration.shard_statistics import merge_all
from quantizers.calibration.statistics_file import (
    parse_statistics,
    read_statistics,
    statistics_chunks,
)
from runtimes import DataError, ModelError, ProfileReport, profile

SAMPLES = 430


@pytest.fixture(autouse=True)
def decided_race(monkeypatch: pytest.MonkeyPatch) -> None:
    """INT8 wins, whatever the clock of this machine says."""

    def quick(*models: object, **options: object) -> ProfileReport:
        return profile(*models, **{**options, "min_time": 0.02})

    monkeypatch.setattr(judge, "profile", quick)
    monkeypatch.setattr(judge.Gain, "predicted", lambda *_: Gain(0.3, ((1, 2.0),), True, False))
    monkeypatch.setattr(judge, "lost_races", lambda *_: None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose channels are of unequal range and never reach zero, and data for it."""
    rng = np.random.default_rng(3)

    def weight(*shape: int) -> ir.Tensor:
        return ir.Tensor((rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32))

    model = ir.from_onnx_text(
        """<ir_version: 9, opset_import: ["" : 18]>
        net (float[n, 3, 8, 8] x, float[12, 3, 3, 3] v, float[12] b, float[12, 12, 3, 3] w,
        float[12] c, float[12, 5] d) => (float[n, 5] logits)
        { [first] c1 = Conv (x, v, b) r1 = Relu (c1)
          [second] c2 = Conv (r1, w, c) r2 = Relu (c2)
          p = GlobalAveragePool (r2) q = Flatten (p)
          [dense] logits = MatMul (q, d) }"""
    )
    for value in model.graph.inputs[1:]:
        value.const_value = weight(*value.shape.numpy())
        model.graph.register_initializer(value)
    bias = model.graph.initializers["b"]
    bias.const_value = ir.Tensor(np.linspace(0, 9, 12).astype(np.float32), name="b")
    del model.graph.inputs[1:]
    path = tmp_path_factory.mktemp("calibrate")
    ir.save(model, path / "net.onnx")
    x = rng.normal(size=(SAMPLES + 60, 3, 8, 8)) + rng.normal(size=(SAMPLES + 60, 3, 1, 1))
    np.savez(path / "data.npz", x=x[:SAMPLES].astype(np.float32))
    np.savez(path / "eval.npz", x=x[SAMPLES:].astype(np.float32))
    return path


@pytest.fixture(scope="module")
def shards(folder: Path) -> Callable[[int], list[Path]]:
    """The files of so many shards, made once."""
    made: dict[int, list[Path]] = {}

    def of(count: int) -> list[Path]:
        if count not in made:
            made[count] = [folder / f"{index}of{count}.stats" for index in range(count)]
            for index, path in enumerate(made[count]):
                run = {"shard": f"{index}/{count}"}
                calibrate(folder / "net.onnx", path, folder / "data.npz", **run)
        return made[count]

    return of


def merged_bytes(paths: Sequence[Path]) -> bytes:
    return b"".join(statistics_chunks(merge_all(map(read_statistics, paths))))


def quantized(folder: Path, name: str, data: Any = None, **options: Any) -> bytes:
    path = folder / f"{name}.onnx"
    report = quantize(
        folder / "net.onnx",
        path,
        data,
        evaluate_on=folder / "eval.npz",
        prefer="size",
        force=True,
        **{"min_sqnr": 5.0, "min_agreement": 0.0, "stress": "none", **options},
    )
    assert report.calibration_samples == SAMPLES
    assert report.kept
    return path.read_bytes()


def test_any_number_of_shards_in_any_order_is_the_same_file(shards) -> None:
    whole = shards(1)[0].read_bytes()
    for count in (2, 4, 7):
        assert merged_bytes(shards(count)) == whole
    for order in itertools.permutations(shards(4)):
        assert merged_bytes(order) == whole
    trees = [read_statistics(path) for path in shards(4)]
    left = trees[3].merge(trees[1]).merge(trees[0].merge(trees[2]))
    assert b"".join(statistics_chunks(left)) == whole


def test_parts_that_are_files_of_their_own_make_the_same_file(folder, shards) -> None:
    x = np.load(folder / "data.npz")["x"]
    parts = []
    for start, stop in ((0, 64), (64, 320), (320, SAMPLES)):
        np.savez(folder / f"from{start}.npz", x=x[start:stop])
        parts.append(folder / f"from{start}.stats")
        place = {"offset": start, "total": SAMPLES}
        calibrate(folder / "net.onnx", parts[-1], folder / f"from{start}.npz", **place)
    assert merged_bytes(parts) == shards(1)[0].read_bytes()


def test_workers_of_this_machine_make_the_same_file(folder, shards) -> None:
    calibrate(folder / "net.onnx", folder / "w.stats", folder / "data.npz", workers=2)
    assert (folder / "w.stats").read_bytes() == shards(1)[0].read_bytes()


def test_a_worker_that_is_killed_changes_nothing(folder, shards) -> None:
    killed: list[int] = []

    def kill_one(stage: str, done: int | None = None, total: int | None = None) -> None:
        if not killed:
            killed.append(workers_of_this_process()[0])
            os.kill(killed[0], signal.SIGKILL)

    path = folder / "k.stats"
    calibrate(folder / "net.onnx", path, folder / "data.npz", workers=2, progress=kill_one)
    assert killed
    assert path.read_bytes() == shards(1)[0].read_bytes()


@pytest.mark.filterwarnings("ignore")  # of Dask, about ports and clocks
def test_a_cluster_that_loses_workers_makes_the_same_file(folder, shards) -> None:
    distributed = pytest.importorskip("distributed")
    killed: list[int] = []

    def kill_one(stage: str, done: int | None = None, total: int | None = None) -> None:
        if not killed:
            (nanny,) = list(cluster.workers.values())[:1]
            killed.append(nanny.pid)
            os.kill(nanny.pid, signal.SIGKILL)

    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        where = {"cluster": cluster.scheduler_address, "progress": kill_one}
        calibrate(folder / "net.onnx", folder / "c.stats", folder / "data.npz", **where)
    assert killed
    assert (folder / "c.stats").read_bytes() == shards(1)[0].read_bytes()


@pytest.mark.parametrize("count", [1, 7])
@pytest.mark.parametrize("effort", ["default", "low"])
def test_statistics_give_the_model_that_the_data_give(folder, shards, count, effort) -> None:
    expected = quantized(folder, "whole", folder / "data.npz", effort=effort)
    assert quantized(folder, "parts", statistics=shards(count), effort=effort) == expected


def test_nodes_that_stay_in_float_are_the_same_with_statistics(folder, shards) -> None:
    options = {"keep_float": ["second"]}
    expected = quantized(folder, "whole", folder / "data.npz", **options)
    assert quantized(folder, "parts", statistics=shards(2), **options) == expected


def test_what_does_not_belong_together_is_refused(folder, shards) -> None:
    one, two = shards(2)
    with pytest.raises(DataError, match=r"lack the samples 224 to 429 of 430"):
        quantized(folder, "bad", statistics=[one])
    with pytest.raises(DataError, match=r"0of2.stats both hold the samples 0 to 223"):
        quantized(folder, "bad", statistics=[one, two, one])
    with pytest.raises(DataError, match=r"both hold the samples 192 to 223"):
        quantized(folder, "bad", statistics=[one, shards(7)[3]])
    with pytest.raises(DataError, match="--eval"):
        quantize(folder / "net.onnx", None, statistics=[one, two])
    with pytest.raises(DataError, match="in place of data"):
        quantized(folder, "bad", folder / "data.npz", statistics=[one, two])
    with pytest.raises(DataError, match="nothing calibrates"):
        quantized(folder, "bad")


def test_another_model_and_another_version_are_refused(folder, shards, monkeypatch) -> None:
    other = ir.load(folder / "net.onnx")
    bias = other.graph.initializers["c"]
    bias.const_value = ir.Tensor(np.full(12, 0.25, np.float32), name="c")
    ir.save(other, folder / "other.onnx")
    with pytest.raises(DataError, match="of another model"):
        quantize(folder / "other.onnx", None, statistics=shards(2), evaluate_on=folder / "eval.npz")
    calibrate(folder / "other.onnx", folder / "o.stats", folder / "data.npz", shard=(1, 2))
    with pytest.raises(DataError, match=r"o.stats are of another model.* than 0of2.stats"):
        quantized(folder, "bad", statistics=[shards(2)[0], folder / "o.stats"])
    with monkeypatch.context() as patch:
        patch.setattr("quantizers.calibration.observe_shard.own_version", lambda: "9.9")
        calibrate(folder / "net.onnx", folder / "v.stats", folder / "data.npz", shard=(1, 2))
    with pytest.raises(DataError, match=r"another version of kilnx \(9.9\)"):
        quantized(folder, "bad", statistics=[shards(2)[0], folder / "v.stats"])
    x = np.load(folder / "data.npz")["x"] + 1
    np.savez(folder / "moved.npz", x=x)
    calibrate(folder / "net.onnx", folder / "m.stats", folder / "moved.npz", shard=(1, 2))
    with pytest.raises(DataError, match="of other data"):
        quantized(folder, "bad", statistics=[shards(2)[0], folder / "m.stats"])


def test_shards_that_cannot_be_are_refused(folder) -> None:
    model, data = folder / "net.onnx", folder / "data.npz"
    for options, message in (
        ({"shard": "4/4"}, "0/4 to 3/4"),
        ({"shard": "first"}, "such as 0/4"),
        ({"shard": (0, 15)}, "14 blocks of 32"),
        ({"offset": 32}, "give the total"),
        ({"offset": 33, "total": 900}, "no multiple of 32"),
        ({"offset": 0, "total": 900}, "not the end of the 900"),
        ({"offset": 512, "total": 900}, "do not lie among 900"),
        ({"shard": "0/2", "workers": 2}, "workers share the whole"),
    ):
        with pytest.raises(DataError, match=message):
            calibrate(model, None, data, **options)
    with pytest.raises(ModelError):
        calibrate(folder / "eval.npz", None, data)


def test_only_statistics_are_replaced_and_only_by_force(folder, shards) -> None:
    path = folder / "again.stats"
    path.write_bytes(shards(2)[0].read_bytes())
    with pytest.raises(DataError, match="--force"):
        calibrate(folder / "net.onnx", path, folder / "data.npz")
    calibrate(folder / "net.onnx", path, folder / "data.npz", force=True)
    assert path.read_bytes() == shards(1)[0].read_bytes()
    path.write_text("mine")
    with pytest.raises(DataError, match="existing file"):
        calibrate(folder / "net.onnx", path, folder / "data.npz", force=True)


@pytest.fixture(scope="module")
def raw(shards) -> bytes:
    found: bytes = shards(2)[1].read_bytes()
    return found


@given(st.data())
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_damaged_statistics_are_refused(raw: bytes, data: st.DataObject) -> None:
    """One byte that differs, anywhere, and any end that is cut off."""
    if data.draw(st.booleans(), label="cut"):
        damaged = raw[: data.draw(st.integers(0, len(raw) - 1))]
    else:
        place = data.draw(st.integers(0, len(raw) - 1) | st.integers(0, 400))
        flip = data.draw(st.integers(1, 255))
        damaged = raw[:place] + bytes([raw[place] ^ flip]) + raw[place + 1 :]
    with pytest.raises(DataError, match=r"^x.stats "):
        parse_statistics(damaged, "x.stats")
