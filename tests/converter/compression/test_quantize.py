"""``quantize``: from a file to the better of its two forms."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from converter.compression import quantize as judge
from converter.compression.gain import Gain
from quantizers import quantize
from quantizers.report import QuantizationReport
from runtimes import DataError, ModelError, ProfileReport, load_model, profile
from runtimes.base import Array
from runtimes.engines.remembering import RememberingRuntime
from runtimes.onnx_files.load_save import file_bytes

Graph = Callable[..., ir.Model]


@pytest.fixture
def heavy(graph: Graph) -> ir.Model:
    """Two convolutions of 64 channels: INT8 is much faster on any CPU."""
    rng = np.random.default_rng(0)

    def weight(*shape: int) -> Array:
        return (rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    return graph(
        """heavy (float[batch, 16, 24, 24] image, float[64, 16, 3, 3] w1, float[64, 64, 3, 3] w2,
        float[64] b, float[64, 10] w3) => (float[batch, 10] logits)
        { c1 = Conv <pads = [1, 1, 1, 1]> (image, w1, b)
          r1 = Relu (c1)
          c2 = Conv <pads = [1, 1, 1, 1]> (r1, w2)
          r2 = Relu (c2)
          p = GlobalAveragePool (r2)
          f = Flatten (p)
          logits = Gemm (f, w3) }""",
        {
            "w1": weight(64, 16, 3, 3),
            "w2": weight(64, 64, 3, 3),
            "b": weight(64),
            "w3": weight(64, 10),
        },
    )


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    image = rng.normal(size=(80, 16, 24, 24)) + rng.normal(size=(80, 16, 1, 1))
    np.savez(tmp_path / "samples.npz", image=image.astype(np.float32))
    return tmp_path / "samples.npz"


def kept_is_written(report: QuantizationReport, path: Path) -> bool:
    operators = {node.op_type for node in load_model(path).graph}
    return ("QuantizeLinear" in operators) is report.kept


@pytest.fixture(autouse=True)
def short_races(monkeypatch: pytest.MonkeyPatch) -> None:
    """Race for some milliseconds: no test here depends on who wins."""

    def quick(*models: object, **options: object) -> ProfileReport:
        return profile(*models, **{**options, "min_time": 0.02})

    monkeypatch.setattr(judge, "profile", quick)


def always(faster: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decide beforehand who is faster: what is tested is the decision, not the machine."""

    def decided(*given: Any) -> Gain:
        return Gain(given[4], ((1, 2.0 if faster else 0.5),), faster, not faster, *given[5:])

    monkeypatch.setattr(judge.Gain, "predicted", decided)
    monkeypatch.setattr(judge, "lost_races", lambda *_: None)


def test_int8_is_written_when_it_holds_and_pays(
    heavy: ir.Model, samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    always(True, monkeypatch)
    ir.save(heavy, tmp_path / "heavy.onnx")
    output = tmp_path / "int8.onnx"
    report = quantize(tmp_path / "heavy.onnx", output, samples, min_agreement=0.8)
    assert report.kept, report.reason
    assert kept_is_written(report, output)
    assert report.int8_bytes is not None
    assert report.int8_bytes == pytest.approx(file_bytes(output), abs=200)
    assert report.float_bytes is not None
    assert report.int8_bytes < 0.35 * report.float_bytes
    assert "0.2" in report.reason
    assert report.calibration_samples == 40
    assert "40 samples calibrate, 40 others evaluate" in report.notes[0]
    assert report.parity is not None
    assert report.parity["samples"] == 40


def test_the_float_model_runs_once(
    heavy: ir.Model, samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    always(True, monkeypatch)
    ran: list[bytes] = []
    run_once = RememberingRuntime._forward

    def forward(self: RememberingRuntime, feed: Any, names: Any) -> Any:
        ran.append(b"".join(array.tobytes() for array in feed.values()))
        return run_once(self, feed, names)

    monkeypatch.setattr(RememberingRuntime, "_forward", forward)
    assert quantize(heavy, tmp_path / "q.onnx", samples, min_agreement=0.8).kept
    assert ran
    assert len(ran) == len(set(ran))


def test_data_of_its_own_judge(
    heavy: ir.Model, samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    always(True, monkeypatch)
    image = np.load(samples)["image"]
    np.savez(tmp_path / "eval.npz", image=image[:11])
    report = quantize(heavy, None, samples, evaluate_on=tmp_path / "eval.npz", min_agreement=0.5)
    assert (report.calibration_samples, report.parity["samples"]) == (80, 11)
    assert "evaluated on 11 of" in report.notes[0]


def test_outside_the_budget_the_float_model_is_written(
    heavy: ir.Model, samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    always(True, monkeypatch)
    output = tmp_path / "out.onnx"
    report = quantize(heavy, output, samples, min_sqnr=150)
    assert not report.kept
    assert report.reason.startswith("INT8 is outside the budget")
    assert kept_is_written(report, output)


def test_what_does_not_pay_is_not_kept(
    heavy: ir.Model, samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    always(False, monkeypatch)
    output = tmp_path / "out.onnx"
    report = quantize(heavy, output, samples, min_agreement=0.5)
    assert not report.kept
    assert report.reason.startswith("INT8 is slower here")
    assert kept_is_written(report, output)


def test_what_is_slower_here_is_kept_where_size_is_preferred(
    heavy: ir.Model, samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    always(False, monkeypatch)
    output = tmp_path / "out.onnx"
    report = quantize(heavy, output, samples, min_agreement=0.5, prefer="size")
    assert report.kept, report.reason
    assert kept_is_written(report, output)
    report = quantize(heavy, None, samples, min_sqnr=150, prefer="size")
    assert report.reason.startswith("INT8 is outside the budget")
    with pytest.raises(DataError, match="prefer one of balanced, speed, size"):
        quantize(heavy, None, samples, prefer="smallest")


def test_a_labelled_metric_is_the_budget_where_it_is_named(
    heavy: ir.Model,
    samples: Path,
    tmp_path: Path,
    run: Callable[..., Array],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    always(True, monkeypatch)
    image = np.load(samples)["image"]
    labels = run(heavy, image=image).argmax(1)
    report = quantize(heavy, None, {"image": image, "labels": labels}, metric="top1", max_drop=0.2)
    assert report.kept, report.reason
    assert "top1" in report.reason
    assert report.parity["metrics"][0]["reference"] == 1.0
    unnamed = quantize(heavy, None, {"image": image, "labels": labels}, max_drop=0.2)
    assert "top1" in unnamed.reason
    assert any("labels judge by top1" in note for note in unnamed.notes)


def test_a_model_with_nothing_to_quantize_is_written_as_it_is(graph: Graph, tmp_path: Path) -> None:
    model = graph("g (float[n, 4] x) => (float[n, 4] y) { y = Softmax (x) }")
    output = tmp_path / "out.onnx"
    report = quantize(model, output, np.ones((64, 4), np.float32))
    assert not report.kept
    assert report.parity is report.latency is None
    assert [node.op_type for node in load_model(output).graph] == ["Softmax"]


def test_an_existing_file_is_not_replaced_without_force(
    heavy: ir.Model, samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    always(True, monkeypatch)
    output = tmp_path / "mine.onnx"
    output.write_text("precious")
    for force in (False, True):
        with pytest.raises(DataError, match="existing file"):
            quantize(heavy, output, samples, force=force)
    assert output.read_text() == "precious"
    ir.save(heavy, output)
    with pytest.raises(DataError, match="--force"):
        quantize(heavy, output, samples)
    quantize(heavy, output, samples, force=True)
    assert load_model(output).graph.name == "heavy"


def test_a_quantized_file_is_refused(
    heavy: ir.Model, samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    always(True, monkeypatch)
    quantize(heavy, tmp_path / "int8.onnx", samples, min_agreement=0.5)
    with pytest.raises(ModelError, match="quantized already"):
        quantize(tmp_path / "int8.onnx", None, samples)


def test_the_model_in_memory_stays_as_it_is(heavy: ir.Model, samples: Path) -> None:
    before = ir.to_proto(heavy).SerializeToString()
    quantize(heavy, None, samples)
    assert ir.to_proto(heavy).SerializeToString() == before


def test_the_report_is_plain_json(heavy: ir.Model, samples: Path) -> None:
    import json

    report = quantize(heavy, None, samples, effort="low")  # which times nothing
    found = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert found["kept"] is report.kept
    assert {row["precision"] for row in found["operators"]} == {"int8"}
    assert found["ranges"]["r1"][0] == 0
    assert report.rows()[0]["operator"] == found["operators"][0]["name"]


def test_quantizing_a_file_loads_no_tensorflow() -> None:
    code = (
        "import sys, converter.compression.quantize\n"
        "unwanted = {'tensorflow', 'keras', 'tf2onnx', 'onnxruntime.quantization'}\n"
        "sys.exit(', '.join(unwanted & set(sys.modules)) or 0)"
    )
    root = Path(judge.__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)


def test_the_package_names_what_it_offers() -> None:
    import quantizers

    assert quantizers.quantize is judge.quantize
    assert all(hasattr(quantizers, name) for name in quantizers.__all__)
    with pytest.raises(AttributeError, match=r"quantizers.*no attribute 'nothing'"):
        _ = quantizers.nothing
