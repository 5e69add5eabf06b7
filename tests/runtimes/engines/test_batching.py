"""Feeds that fit, and models whose batch is fixed."""

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from runtimes import DataError, ModelError, TensorSpec, open_runtime
from runtimes.engines.batching import check_feed, fixed_batch, refuse_other_axes, run_padded


def spec(name: str, *shape: int | str | None) -> TensorSpec:
    return TensorSpec(name, np.dtype("float32"), shape)


def test_a_feed_holds_each_input_as_it_is_declared() -> None:
    inputs = [spec("a", "batch", 2), spec("b", "batch")]
    good = {"a": np.zeros((3, 2), np.float32), "b": np.zeros(3, np.float32)}
    check_feed(good, inputs, "m.onnx")
    with pytest.raises(DataError, match=r"m\.onnx takes the inputs 'a', 'b', the data hold 'a'$"):
        check_feed({"a": good["a"]}, inputs, "m.onnx")
    with pytest.raises(DataError, match=r"takes b: float32\[batch\], the data hold float64\[3\]"):
        check_feed({**good, "b": np.zeros(3)}, inputs, "m.onnx")
    with pytest.raises(DataError, match=r"takes a: float32\[batch, 2\], .* float32\[3, 1\]"):
        check_feed({**good, "a": np.zeros((3, 1), np.float32)}, inputs, "m.onnx")


def test_the_fixed_batch() -> None:
    assert fixed_batch([spec("a", "batch", 2), spec("b", None)]) is None
    assert fixed_batch([spec("a", 4, 2), spec("b", "batch")]) == 4
    assert fixed_batch([TensorSpec("a", np.dtype("float32"), None)]) is None
    with pytest.raises(ModelError, match=r"different batch sizes.*'b' takes 3, 'a' takes 4"):
        fixed_batch([spec("a", 4, 2), spec("b", 3)])
    assert fixed_batch([spec("a"), spec("b", 4)]) == 4


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_short_batch_is_filled_up_and_cut_again(
    graph: Callable[[str], ir.Model], count: int
) -> None:
    model = graph(
        "fixed (float[4, 2] x) => (float[4, 2] y, float[2] total)"
        "{ y = Neg(x)\n total = ReduceSum<keepdims = 0>(x, axes) }".replace(
            "{", "<int64[1] axes = {0}> {", 1
        )
    )
    x = np.arange(count * 2, dtype=np.float32).reshape(count, 2)
    with open_runtime(model) as runtime:
        found = run_padded(runtime, {"x": x})
        np.testing.assert_array_equal(found["y"], -x)
        assert found["total"].shape == (2,)
        with pytest.raises(DataError, match="takes 4 samples per run, not 5"):
            run_padded(runtime, {"x": np.zeros((5, 2), np.float32)})


@pytest.mark.parametrize("batch", ["N", "4"])
def test_a_scalar_input_gets_the_value_of_all_samples(
    graph: Callable[[str], ir.Model], batch: str
) -> None:
    model = graph(f"g (float[{batch}, 2] x, float s) => (float[{batch}, 2] y) {{ y = Mul(x, s) }}")
    feed = {"x": np.ones((3, 2), np.float32), "s": np.full(3, 5, np.float32)}
    with open_runtime(model) as runtime:
        np.testing.assert_array_equal(run_padded(runtime, feed)["y"], np.full((3, 2), 5))
        with pytest.raises(DataError, match="takes one 's' for all samples of a run"):
            run_padded(runtime, {**feed, "s": np.arange(3, dtype=np.float32)})


def test_samples_on_another_axis_are_named() -> None:
    inputs = [spec("x", "batch", 20, 8), spec("y", "batch", "batch")]
    refuse_other_axes(inputs, [spec("o", "batch", 4), spec("p", 20, "other")], "m")
    refuse_other_axes([spec("x", 4, 8)], [spec("o", 8, 4)], "m")
    with pytest.raises(ModelError, match=r"output 'o' on axis 1, .*batch first"):
        refuse_other_axes(inputs, [spec("o", 20, "batch", 4)], "m")
    with pytest.raises(ModelError, match="samples of its input 's' on axis 1"):
        refuse_other_axes([*inputs, spec("s", 2, "batch", 8)], [], "m")


def test_an_output_without_samples_is_named() -> None:
    refuse_other_axes([spec("s")], [spec("o")], "m")  # all of it is one sample
    with pytest.raises(ModelError, match="m gives one number 'o' for all samples of a run"):
        refuse_other_axes([spec("x", "batch", 4)], [spec("y", "batch"), spec("o")], "m")
