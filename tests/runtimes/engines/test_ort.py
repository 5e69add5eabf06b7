"""ONNX Runtime sessions: what they give, and how their failures read."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from runtimes import DataError, ModelError, RuntimeUnavailable
from runtimes.engines import ort_session
from runtimes.engines.ort import OrtRuntime

Graph = Callable[[str], ir.Model]
Saved = Callable[..., Path]

TWO = (
    "two (float[batch, 3] x, int64[batch] n) => (float[batch, 3] double, int64[batch] m)"
    "{ double = Add(x, x)\n m = Neg(n) }"
)


def feed(count: int = 2) -> dict[str, np.ndarray]:
    return {"x": np.full((count, 3), 1.5, np.float32), "n": np.arange(count)}


def test_inputs_and_outputs_are_named_and_typed(graph: Graph) -> None:
    with OrtRuntime(graph(TWO)) as runtime:
        assert [str(spec) for spec in runtime.inputs] == ["x: float32[batch, 3]", "n: int64[batch]"]
        assert [str(spec) for spec in runtime.outputs] == [
            "double: float32[batch, 3]",
            "m: int64[batch]",
        ]
        found = runtime.run(feed())
        np.testing.assert_array_equal(found["double"], np.full((2, 3), 3, np.float32))
        np.testing.assert_array_equal(found["m"], [0, -1])
        assert list(runtime.run(feed(), ["m"])) == ["m"]
        assert runtime.run(feed(), []) == {}
        runtime.prepare(feed())()


def test_an_input_of_any_rank_is_no_scalar(graph: Graph) -> None:
    model = graph("g (float[n] x, float s) => (float[n] y) { y = Mul(x, s) }")
    for value in (model.graph.inputs[0], model.graph.outputs[0]):
        value.shape = None
    with OrtRuntime(model) as runtime:
        assert [spec.shape for spec in (*runtime.inputs, *runtime.outputs)] == [None, (), None]
        two = np.ones((2, 3), np.float32)
        assert runtime.run({"x": two, "s": np.array(2, np.float32)})["y"].shape == (2, 3)


@pytest.mark.parametrize("limit", [0, 10**9])
def test_a_path_and_a_graph_of_any_size_run_alike(
    graph: Graph, saved: Saved, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(ort_session, "_IN_MEMORY_BELOW_BYTES", limit)
    model = graph(
        "g (float[n, 2] x) => (float[n, 2] y) <float[2, 2] w = {1, 2, 3, 4}> { y = MatMul(x, w) }"
    )
    # Large enough to be written as external data.
    wide = np.random.default_rng(0).random((2, 500), np.float32)
    model.graph.initializers["w"].const_value = ir.tensor(wide, name="w")
    model.graph.outputs[0].shape = ir.Shape(["n", 500])
    x = {"x": np.float32([[1, 2]])}
    for source in (model, saved(model), str(saved(model))):
        with OrtRuntime(source) as runtime:
            np.testing.assert_allclose(runtime.run(x)["y"], x["x"] @ wide, rtol=1e-6)
    assert model.graph.initializers["w"].const_value.nbytes == wide.nbytes


def test_weights_beside_the_file_are_found(graph: Graph, tmp_path: Path) -> None:
    model = graph(
        "g (float[n, 2] x) => (float[n, 2] y) <float[2, 2] w = {1, 2, 3, 4}> { y = MatMul(x, w) }"
    )
    ir.save(model, tmp_path / "m.onnx", external_data="m.data", size_threshold_bytes=0)
    lazy = ir.load(tmp_path / "m.onnx")
    for source in (tmp_path / "m.onnx", lazy):
        with OrtRuntime(source) as runtime:
            found = runtime.run({"x": np.float32([[1, 1]])})
            np.testing.assert_array_equal(found["y"], [[4, 6]])


def test_a_feed_that_does_not_fit_is_the_datas_fault(graph: Graph) -> None:
    with OrtRuntime(graph(TWO)) as runtime:
        with pytest.raises(DataError, match="takes the inputs 'n', 'x', the data hold 'x'"):
            runtime.run({"x": feed()["x"]})
        with pytest.raises(DataError, match=r"takes n: int64\[batch\], the data hold int32\[2\]"):
            runtime.run({**feed(), "n": np.zeros(2, np.int32)})
        with pytest.raises(ModelError, match="has no output 'q'; it has 'double', 'm'"):
            runtime.run(feed(), ["q"])


def test_the_node_that_fails_is_named(graph: Graph, capfd: pytest.CaptureFixture[str]) -> None:
    model = graph(
        "g (float[n, 2] x, float[m, 2] z) => (float[k, 2] y) { [sum_of_both] y = Add(x, z) }"
    )
    with OrtRuntime(model) as runtime:
        bad = {"x": np.ones((2, 2), np.float32), "z": np.ones((3, 2), np.float32)}
        with pytest.raises(ModelError, match=r"in ONNX Runtime: node 'sum_of_both' \(Add\)"):
            runtime.run(bad)
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


def test_memory_that_is_not_to_be_had_is_said(graph: Graph) -> None:
    model = graph(
        "g (float[n, 2] x) => (float[m] y) <int64[2] s = {2000000000000, 2}, int64[1] flat = {-1}>"
        "{ [huge] e = Expand(x, s)\n y = Reshape(e, flat) }"
    )
    with (
        OrtRuntime(model) as runtime,
        pytest.raises(ModelError, match=r"'huge' \(Expand\): out of memory: .* 16000.0 GB"),
    ):
        runtime.run({"x": np.ones((1, 2), np.float32)})


def test_an_operator_that_is_not_there_is_named(
    graph: Graph, capfd: pytest.CaptureFixture[str]
) -> None:
    for text, name in (
        ("g (float[n] x) => (float[n] y) { [odd_one] y = local.Sparkle(x) }", "Sparkle"),
        ("g (float[n] x) => (float[n] y) { [odd_one] y = Conv(x) }", "Conv"),
        ("g (int64[n] x) => (int64[n] y) { [odd_one] y = Erf(x) }", "Erf"),
    ):
        message = rf"does not load in ONNX Runtime: node 'odd_one' \({name}\)"
        with pytest.raises(ModelError, match=message) as error:
            OrtRuntime(graph(text))
        assert "\n" not in str(error.value)
        assert ".cc" not in str(error.value)
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


def test_what_is_not_there_or_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such file"):
        OrtRuntime(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("hello, this is not a model")
    with pytest.raises(ModelError, match="is not an ONNX model"):
        OrtRuntime(tmp_path / "text.onnx")


def test_inputs_that_are_no_tensors_are_refused(graph: Graph) -> None:
    model = graph("g (seq(float[n]) x) => (float[n] y) { y = ConcatFromSequence<axis = 0>(x) }")
    with pytest.raises(ModelError, match=r"'x' is a seq\(tensor\(float\)\); only tensors"):
        OrtRuntime(model)


def test_providers_that_are_not_there(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeUnavailable, match=r"no provider 'tpu' .*; kilnx runs models"):
        OrtRuntime(graph(TWO), provider="tpu")
    monkeypatch.setattr(ort_session, "PROVIDERS", {"cuda": "NoSuchExecutionProvider"})
    with pytest.raises(RuntimeUnavailable, match=r"has no provider 'cuda' .*\[gpu\]"):
        OrtRuntime(graph(TWO), provider="cuda")


def test_the_optimized_graph_can_be_seen(graph: Graph, tmp_path: Path) -> None:
    model = graph("g (float[n] x) => (float[n] y) { a = Identity(x)\n y = Neg(a) }")
    counts = {}
    for level in ("disabled", "basic"):
        path = tmp_path / f"{level}.onnx"
        with OrtRuntime(model, optimization=level, optimized_model_path=path, threads=1) as runtime:
            runtime.run({"x": np.ones(2, np.float32)})
        counts[level] = [node.op_type for node in ir.load(path).graph]
    assert counts == {"disabled": ["Identity", "Neg"], "basic": ["Neg"]}


def test_threads_are_counted_from_one(graph: Graph) -> None:
    with pytest.raises(ValueError, match="threads must be at least 1"):
        OrtRuntime(graph(TWO), threads=0)


def test_quantized_models_are_told_from_float_ones(graph: Graph) -> None:
    with OrtRuntime(graph(TWO)) as runtime:
        assert not runtime.quantized
    model = graph(
        "g (float[n] x) => (float[n] y) <float s = {0.1}, uint8 z = {0}>"
        "{ q = QuantizeLinear(x, s, z)\n y = DequantizeLinear(q, s, z) }"
    )
    with OrtRuntime(model) as runtime:
        assert runtime.quantized
