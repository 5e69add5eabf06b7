"""Observing intermediate values in bounded memory."""

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from quantizers.calibration import calibrate as calibrate_module
from quantizers.calibration.calibrate import calibrate
from quantizers.calibration.observers import MinMaxObserver, Range
from quantizers.options import QuantizeOptions
from runtimes import DataError, Dataset
from runtimes.base import Array
from runtimes.engines.ort import OrtRuntime

Graph = Callable[..., ir.Model]
Bound = Callable[..., Dataset]

VALUES = ("image", "c1", "r1", "c2", "r2", "sum", "logits")


def ranges(model: ir.Model, data: Dataset, **options: int) -> dict[str, Range]:
    observers = {name: MinMaxObserver() for name in VALUES}
    samples = calibrate(model, data, observers, options=QuantizeOptions(**options))
    assert samples == 64
    return {name: observer.range() for name, observer in observers.items()}


def test_ranges_are_those_of_all_samples(
    residual_model: ir.Model, images: Array, bound: Bound
) -> None:
    found = ranges(residual_model, bound(residual_model, image=images))
    with OrtRuntime(residual_model) as runtime:
        logits = runtime.run({"image": images})["logits"]
    assert found["image"] == Range(float(images.min()), float(images.max()))
    assert found["logits"].low == pytest.approx(logits.min(), rel=1e-5)
    assert found["logits"].high == pytest.approx(logits.max(), rel=1e-5)
    assert found["r1"] == Range(0.0, found["c1"].high)
    assert found["r2"].high == min(6.0, found["c2"].high)


def test_little_memory_gives_the_same_ranges_in_more_passes(
    residual_model: ir.Model, images: Array, bound: Bound, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = 0

    class Watched(OrtRuntime):
        def run(self, feed, outputs=None):  # type: ignore[no-untyped-def]
            nonlocal most
            result = super().run(feed, outputs)
            most = max(most, sum(array.nbytes for array in result.values()))
            return result

    monkeypatch.setattr(calibrate_module, "OrtRuntime", Watched)
    data = bound(residual_model, image=images)
    plenty = ranges(residual_model, data)
    assert most > 500_000
    most = 0
    scarce = ranges(residual_model, data, memory_bytes=10_000)
    # One value of one sample takes 4.6 kB, so two fit side by side.
    assert most <= 10_000
    for name, span in plenty.items():
        assert scarce[name].low == pytest.approx(span.low, rel=1e-5)
        assert scarce[name].high == pytest.approx(span.high, rel=1e-5)


def test_shards_merge_to_the_whole(residual_model: ir.Model, images: Array, bound: Bound) -> None:
    parts = []
    for shard in (images[:20], images[20:]):
        observers = {"c2": MinMaxObserver()}
        calibrate(residual_model, bound(residual_model, image=shard), observers)
        parts.append(observers["c2"])
    whole = ranges(residual_model, bound(residual_model, image=images))["c2"]
    merged = parts[0].merge(parts[1]).range()
    assert (merged.low, merged.high) == (
        pytest.approx(whole.low, rel=1e-5),
        pytest.approx(whole.high, rel=1e-5),
    )


def test_a_fixed_batch_is_obeyed_and_the_rest_is_not_counted_twice(
    graph: Graph, bound: Bound
) -> None:
    model = graph("g (float[4, 2] x) => (float[4, 2] y) { h = Neg (x)\n y = Exp (h) }")
    x = np.arange(12, dtype=np.float32).reshape(6, 2)
    observers = {"h": MinMaxObserver()}
    assert calibrate(model, bound(model, x=x), observers) == 6
    assert observers["h"].range() == Range(-11, 0)


def test_samples_of_different_lengths_are_calibrated(graph: Graph) -> None:
    model = graph("g (float[n, length] x) => (float[n, length] y) { h = Neg (x)\n y = Exp (h) }")
    batches = [np.full((2, size), size, np.float32) for size in (3, 5, 2)]
    from runtimes.onnx_files.load_save import model_inputs

    data = Dataset.open(batches, inputs=model_inputs(model))
    observers = {"h": MinMaxObserver()}
    assert calibrate(model, data, observers) == 6
    assert observers["h"].range() == Range(-5, -2)


def test_inputs_alone_need_no_run(
    graph: Graph, bound: Bound, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = graph("g (float[n, 2] x) => (float[n, 2] y) { y = Neg (x) }")
    monkeypatch.setattr(calibrate_module.OrtRuntime, "run", None)
    observers = {"x": MinMaxObserver()}
    calibrate(model, bound(model, x=np.float32([[1, 2]])), observers)
    assert observers["x"].range() == Range(1, 2)


def test_the_first_node_that_computes_nan_is_named(graph: Graph, bound: Bound) -> None:
    model = graph(
        """g (float[n, 2] x) => (float[n, 2] y)
        { [fine] a = Neg (x)
          [culprit] b = Log (x)
          [victim] y = Exp (b) }"""
    )
    x = np.ones((8, 2), np.float32)
    x[5, 1] = -1
    observers = {name: MinMaxObserver() for name in ("y", "b", "a")}
    with pytest.raises(DataError, match=r"node 'culprit' \(Log\).*1 NaN.*samples 4 to 5"):
        calibrate(model, bound(model, x=x), observers, options=QuantizeOptions(batch_size=2))


def test_progress_counts_samples(residual_model: ir.Model, images: Array, bound: Bound) -> None:
    seen: list[tuple[int, ...]] = []
    data = bound(residual_model, image=images)
    calibrate(
        residual_model,
        data,
        {"r1": MinMaxObserver()},
        progress=lambda stage, *count: seen.append(count),
    )
    assert seen[-1] == (64, 64)


def test_a_scalar_input_is_one_value_for_all_samples(graph: Graph, bound: Bound) -> None:
    model = graph("g (float[n, 4] x, float s) => (float[n, 4] y) { y = Mul (x, s) }")
    x = np.arange(40, dtype=np.float32).reshape(10, 4)
    data = bound(model, x=x, s=np.full(10, 2, np.float32))
    assert calibrate_module.bytes_per_sample(model, data, ["y"]) == {"y": 16}
    observer = MinMaxObserver()
    assert calibrate(model, data, {"y": observer}, options=QuantizeOptions(batch_size=3)) == 10
    assert observer.range() == Range(0.0, 78.0)
