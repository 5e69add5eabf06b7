"""A check over the files of shards has the report of the whole, to the bit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from runtimes import CompareFiles, DataError, ParityReport, check, compare_shard

Graph = Callable[[str], ir.Model]
SAMPLES = 301
RNG = np.random.default_rng(0)
X = RNG.standard_normal((SAMPLES, 4)).astype(np.float32)
LABELS = X.argmax(axis=1)
LABELS[::9] = 0


def parts(
    folder: Path, models: tuple[Any, Any], data: Any, count: int, **options: Any
) -> list[Path]:
    paths = [folder / f"{index}of{count}.parity" for index in range(count)]
    for index, path in enumerate(paths):
        compare_shard(*models, data, path, shard=(index, count), force=True, **options)
    return paths


def by_shards(
    folder: Path, models: tuple[Any, Any], data: Any, count: int, **options: Any
) -> ParityReport:
    files = CompareFiles(parts(folder, models, data, count, **options)[::-1])
    return check(*models, data, spread=files, **options)


def same_for_any_number(
    folder: Path, models: tuple[Any, Any], data: Any, counts: Sequence[int] = (1, 2, 7), **more: Any
) -> ParityReport:
    whole = check(*models, data, **more)
    for count in counts:
        assert repr(by_shards(folder, models, data, count, **more)) == repr(whole)
    return whole


FUNCTION = """
def share_of_zero(y_true, y_pred):
    return float(((y_pred.argmax(1) == 0) == (y_true == 0)).mean())

share_of_zero.higher_is_better = True
"""
LINEAR = "g (float[n, 4] x) => (float[n, 5] y) <float[4, 5] w = {%s}> { y = MatMul(x, w) }"
NUMBERS = RNG.standard_normal(20)


def linear(graph: Graph, off: float) -> ir.Model:
    weights = (one + off * place for place, one in enumerate(NUMBERS))
    return graph(LINEAR % ", ".join(f"{one:.9f}" for one in weights))


def test_scores_of_classes_and_kinds_of_metrics(
    graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "metric_of_shards.py").write_text(FUNCTION)
    models = linear(graph, 0), linear(graph, 1e-3)
    data = {"x": X, "labels": LABELS}
    for metric in ("top1", "f1", "metric_of_shards:share_of_zero"):
        report = same_for_any_number(tmp_path, models, data, metric=metric, max_drop=0.5)
        assert report.metrics[0].name == metric
    assert report.stress is not None


def test_float_models_with_their_rounding_noise(graph: Graph, tmp_path: Path) -> None:
    models = linear(graph, 0), linear(graph, 1e-9)
    report = same_for_any_number(tmp_path, models, X * 100, (1, 2, 4, 7))
    assert report.outputs[0].noise is not None
    assert report.outputs[0].mean_abs_error > 0


def test_quantities_tolerances_and_several_places(graph: Graph, tmp_path: Path) -> None:
    text = "g (float[n, 4] x) => (float[n, 4] y) <float[4] k = {1, 1000, 1, %f}>{ y = Mul(x, k) }"
    models = graph(text % 1), graph(text % 1.001)
    more = {"rtol": 1e-4, "providers": ("cpu", "reference")}
    report = same_for_any_number(tmp_path, models, np.abs(X) + 1, (1, 2), **more)
    assert report.outputs[0].kind == "quantities"
    assert {one.provider for one in report.outputs} == {"cpu", "reference"}
    assert report.outputs[0].outside


def test_a_mask_that_only_some_shards_see(graph: Graph, tmp_path: Path) -> None:
    x = X.copy()
    x[150:, 3] = -1e9
    text = "g (float[n, 4] x) => (float[n, 4] y) <float k = {%.9f}>{ y = Mul(x, k) }"
    models = graph(text % 1), graph(text % 1.0001)
    report = same_for_any_number(tmp_path, models, x, min_sqnr=20)
    assert report.outputs[0].mask == (-1e9,)


def test_embeddings(graph: Graph, tmp_path: Path) -> None:
    text = (
        "g (float[n, 4] x) => (float[n, 4] y) <float[4] k = {1, 1, 1, %f}>"
        "{ s = Mul(x, k) y = LpNormalization <axis = 1> (s) }"
    )
    models = graph(text % 1), graph(text % 1.2)
    report = same_for_any_number(tmp_path, models, X, min_sqnr=1, min_agreement=0)
    assert report.outputs[0].neighbours is not None


def test_detections(graph: Graph, tmp_path: Path) -> None:
    boxes = RNG.random((SAMPLES, 9, 6)).astype(np.float32) * 0.4
    boxes[..., 2:4] += 0.5
    boxes[..., 4] = RNG.random((SAMPLES, 9))
    boxes[:40, :, 4] *= 0.2  # the first shard alone would take other boxes for confident
    boxes[..., 5] = 0
    labels = np.where(RNG.random((SAMPLES, 9, 1)) < 0.5, boxes[..., :5], -1)
    labels[..., 4] = np.where(labels[..., 0] < 0, -1, 0)
    text = (
        "g (float[n, 9, 6] x) => (float[n, 9, 6] y) <float[6] k = {%f, 1, 1, 1, %f, 1}>"
        "{ y = Mul(x, k) }"
    )
    models = graph(text % (1, 1)), graph(text % (1.01, 0.98))
    report = same_for_any_number(tmp_path, models, boxes, min_agreement=0.5, min_sqnr=1)
    assert report.outputs[0].kind == "detections"
    data = {"x": boxes, "labels": labels.astype(np.float32)}
    report = same_for_any_number(tmp_path, models, data, metric="map50", max_drop=0.5)
    assert 0 < report.metrics[0].reference < 1


def test_what_cannot_be_compared_is_said_of_the_first_sample(graph: Graph, tmp_path: Path) -> None:
    x = X.copy()
    x[[100, 250], 1] = 0
    head = "g (float[n, 4] x) => (float[n, 4] y)"
    same = graph(head + "{ y = Identity(x) }")
    inverse = graph(head + "{ r = Reciprocal(x) z = Mul(x, x) y = Mul(r, z) }")
    report = same_for_any_number(tmp_path, (same, inverse), x, min_sqnr=1)
    assert report.outputs[0].problem == "NaN at sample 100, element [1]"


def test_dimensions_that_may_vary_and_data_without_positions(graph: Graph, tmp_path: Path) -> None:
    text = (
        "g (float[n, length, 4] x) => (float[n, 4] y) <float k = {%f}, int64[1] a = {1}>"
        "{ s = ReduceMean <keepdims = 0> (x, a) y = Mul(s, k) }"
    )

    models = graph(text % 1), graph(text % 1.001)
    data = RNG.standard_normal((600, 3, 4)).astype(np.float32)
    same_for_any_number(tmp_path, models, data, (1, 3), min_sqnr=1)

    def stream() -> Any:
        return iter([{"x": data[:5]}])

    with pytest.raises(DataError, match="shards need positions"):
        by_shards(tmp_path, models, stream, 2, min_sqnr=1)


@pytest.fixture
def compared(scaled: Any, saved: Any, tmp_path: Path) -> Callable[..., Any]:
    """Checks with the files of two shards, one of which may be replaced by that of others."""
    models = saved(scaled(1), "one.onnx"), saved(scaled(1.001), "two.onnx")
    files = parts(tmp_path, models, X, 2, min_sqnr=1)

    def check_with(paths: Sequence[Path] = files, data: Any = X, **options: Any) -> ParityReport:
        more = {"min_sqnr": 1, **options}
        return check(*models, data, spread=CompareFiles(paths), **more)

    check_with.files, check_with.models = files, models  # type: ignore[attr-defined]
    return check_with


def test_shards_that_overlap_or_lack_samples_are_refused(compared: Any, tmp_path: Path) -> None:
    one, two = compared.files
    assert compared().samples == SAMPLES
    with pytest.raises(DataError, match=r"lack the samples 160 to 300 of 301"):
        compared([one])
    with pytest.raises(DataError, match=r"lack the samples 0 to 159 of 301"):
        compared([two])
    with pytest.raises(DataError, match=r"0of2.parity both hold the samples 0 to 159"):
        compared([one, two, one])
    seven = parts(tmp_path, compared.models, X, 7, min_sqnr=1)
    with pytest.raises(DataError, match=r"both hold the samples 128 to 159"):
        compared([one, *seven[3:]])
    with pytest.raises(DataError, match=r"no shard 2/2"):
        compare_shard(*compared.models, X, tmp_path / "no.parity", shard="2/2", min_sqnr=1)


def test_shards_of_others_are_refused(
    compared: Any,
    scaled: Any,
    saved: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = compared.files[0]
    other = saved(scaled(2), "other.onnx")

    def shard(*models: Path, data: Any = X, **more: Any) -> list[Path]:
        path = tmp_path / "bad.parity"
        compare_shard(*models, data, path, shard=(1, 2), force=True, **{"min_sqnr": 1, **more})
        return [one, path]

    with pytest.raises(DataError, match=r"bad.parity is of another candidate"):
        compared(shard(compared.models[0], other))
    with pytest.raises(DataError, match=r"is of another reference"):
        compared(shard(other, compared.models[1]))
    with pytest.raises(DataError, match=r"the first samples differ"):
        compared(shard(*compared.models, data=X + 1))
    with pytest.raises(DataError, match=r"another number of samples"):
        compared(shard(*compared.models, data=X[:300]))
    with pytest.raises(DataError, match=r"compared in another way"):
        compared(shard(*compared.models, min_sqnr=None, rtol=0.1))
    with monkeypatch.context() as patch:
        patch.setattr("runtimes.parity.shards.work.own_version", lambda: "9.9")
        paths = shard(*compared.models)
    with pytest.raises(DataError, match=r"another version of kilnx: 9.9"):
        compared(paths)
    with monkeypatch.context() as patch:
        patch.setattr("runtimes.parity.shards.shard_task.this_cpu", lambda: "avx9")
        paths = shard(*compared.models)
    assert any("CPUs with avx9" in note for note in compared(paths).notes)


def test_files_that_are_damaged_are_refused(compared: Any) -> None:
    one, two = compared.files
    raw = bytearray(two.read_bytes())
    raw[-100] ^= 1
    two.write_bytes(raw)
    with pytest.raises(DataError, match="checksum"):
        compared([one, two])
    two.write_bytes(raw[:-7])
    with pytest.raises(DataError, match="cut off"):
        compared([one, two])
    with pytest.raises(DataError, match="does not hold the comparison of a shard"):
        compared([one, compared.models[0]])


def test_models_of_this_process_cannot_be_sent(scaled: Any, tmp_path: Path) -> None:
    from runtimes import ModelError, open_runtime

    with (
        open_runtime(scaled(1)) as opened,
        pytest.raises(ModelError, match="give the path of the model"),
    ):
        compare_shard(opened, scaled(1), X, tmp_path / "no.parity", shard="0/2")
