"""Quantizing a graph as a whole."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from quantizers import QuantizeOptions, quantize_model
from runtimes import DataError, Dataset, ModelError
from runtimes.base import Array, Feed
from runtimes.engines.remembering import RememberingRuntime
from runtimes.onnx_files.load_save import load_model, weight_bytes

Graph = Callable[..., ir.Model]
Bound = Callable[..., Dataset]
Run = Callable[..., Array]
Sqnr = Callable[[Array, Array], float]


def serialized(model: ir.Model) -> bytes:
    return ir.to_proto(model).SerializeToString(deterministic=True)


def test_the_result_is_close_small_and_reported(
    residual_model: ir.Model, images: Array, bound: Bound, run: Run, sqnr: Sqnr
) -> None:
    result, report = quantize_model(residual_model, bound(residual_model, image=images[:48]))
    reference, found = (run(model, image=images[48:]) for model in (residual_model, result))
    assert sqnr(reference, found) > 28
    assert report.kept
    assert report.reason == "4 operators with weights run in INT8"
    assert report.calibration_samples == 48
    assert report.int8_weight_bytes == weight_bytes(result) < report.float_weight_bytes
    assert report.ranges["r1"][0] == 0.0
    assert report.parity is report.latency is None
    reasons = {operator.name: operator.reason for operator in report.operators}
    assert reasons["first_relu"] == "part of Conv first"
    assert reasons["first"] is None


def test_the_model_that_came_in_is_untouched_and_results_repeat(
    residual_model: ir.Model, images: Array, bound: Bound
) -> None:
    before = serialized(residual_model)
    data = bound(residual_model, image=images)
    first, _ = quantize_model(residual_model, data)
    second, _ = quantize_model(residual_model, data)
    assert serialized(residual_model) == before
    assert serialized(first) == serialized(second) != before


def test_the_float_model_runs_once_for_all_that_is_compared_with_it(
    residual_model: ir.Model, images: Array, bound: Bound, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[bytes] = []
    forward = RememberingRuntime._forward

    def counted(self: RememberingRuntime, feed: Feed, names: Sequence[str]) -> Sequence[Array]:
        ran.append(b"".join(array.tobytes() for array in feed.values()))
        return forward(self, feed, names)

    monkeypatch.setattr(RememberingRuntime, "_forward", counted)
    options = QuantizeOptions(measure=True, min_sqnr=30.0)
    _, report = quantize_model(residual_model, bound(residual_model, image=images), options=options)
    assert sum(operator.sensitivity_db is not None for operator in report.operators) == 4
    assert 0 < len(ran) == len(set(ran))


def unrolled(graph: Graph, steps: int) -> ir.Model:
    """A recurrent layer written out step by step, its first state a constant."""
    rng = np.random.default_rng(0)
    body = "xw = MatMul (x, w) b = MatMul (state, u)\n s0 = Add (xw, b) h0 = Tanh (s0)\n"
    for step in range(1, steps):
        before = f"h{step - 1}"
        body += f"a{step} = MatMul ({before}, u) s{step} = Add (xw, a{step}) "
        body += f"h{step} = Tanh (s{step})\n"
    return graph(
        f"""g (float[n, 64] x, float[64, 64] w, float[64, 64] u, float[1, 64] state)
        => (float[n, 64] h{steps - 1}) {{ {body} }}""",
        {
            "w": (rng.normal(size=(64, 64)) / 8).astype(np.float32),
            "u": (rng.normal(size=(64, 64)) / 8).astype(np.float32),
            "state": rng.normal(size=(1, 64)).astype(np.float32),
        },
    )


def test_a_weight_that_all_steps_read_has_one_copy(
    graph: Graph, bound: Bound, run: Run, sqnr: Sqnr
) -> None:
    model = unrolled(graph, 6)
    x = np.random.default_rng(1).normal(size=(60, 64)).astype(np.float32)
    result, report = quantize_model(model, bound(model, x=x))
    assert {o.name for o in report.operators if o.op_type == "MatMul"} == {
        o.name for o in report.operators if o.precision == "int8"
    }
    assert report.int8_weight_bytes < 0.3 * report.float_weight_bytes
    assert sqnr(run(model, x=x), run(result, x=x)) > 25


def test_weights_in_external_data_are_found_from_anywhere(
    residual_model: ir.Model,
    images: Array,
    bound: Bound,
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = bound(residual_model, image=images)
    expected, _ = quantize_model(residual_model, data)
    path = tmp_path / "model.onnx"
    ir.save(residual_model.clone(), path, external_data="weights.bin", size_threshold_bytes=0)
    monkeypatch.chdir("/")
    assert (tmp_path / "weights.bin").stat().st_size >= weight_bytes(residual_model)
    result, _ = quantize_model(load_model(path), data)
    np.testing.assert_array_equal(run(result, image=images), run(expected, image=images))


def test_weights_that_stay_float_are_shared(
    residual_model: ir.Model, images: Array, bound: Bound
) -> None:
    keep = QuantizeOptions(keep_float=frozenset({"first"}), equalize=False)
    result, _ = quantize_model(residual_model, bound(residual_model, image=images), options=keep)
    (mine, theirs) = (model.graph.initializers["w1"] for model in (result, residual_model))
    assert mine.const_value is theirs.const_value


def test_a_misspelled_node_is_pointed_out(
    residual_model: ir.Model, images: Array, bound: Bound
) -> None:
    keep = QuantizeOptions(keep_float=frozenset({"depthwize"}))
    with pytest.raises(ModelError, match=r"no node 'depthwize'.*close to it: 'depthwise'"):
        quantize_model(residual_model, bound(residual_model, image=images), options=keep)


def test_few_samples_are_pointed_out(residual_model: ir.Model, images: Array, bound: Bound) -> None:
    _, report = quantize_model(residual_model, bound(residual_model, image=images[:5]))
    assert any(note.startswith("calibrated on 5 samples only") for note in report.notes)


def test_a_model_without_weights_is_given_back(graph: Graph, bound: Bound) -> None:
    model = graph("g (float[n, 4] x) => (float[n, 4] y) { [soft] y = Softmax (x) }")
    result, report = quantize_model(model, bound(model, x=np.ones((40, 4), np.float32)))
    assert not report.kept
    assert "no operator with weights" in report.reason
    assert [node.op_type for node in result.graph] == ["Softmax"]
    assert [operator.precision for operator in report.operators] == ["float32"]


def test_integer_inputs_stay_integers(graph: Graph, bound: Bound, run: Run) -> None:
    rng = np.random.default_rng(0)
    model = graph(
        """g (int64[n] i, float[9, 8] table, float[8, 4] w) => (float[n, 4] y)
        { e = Gather (table, i)
          y = MatMul (e, w) }""",
        {
            "table": rng.normal(size=(9, 8)).astype(np.float32),
            "w": rng.normal(size=(8, 4)).astype(np.float32),
        },
    )
    i = rng.integers(0, 9, 64)
    result, report = quantize_model(model, bound(model, i=i))
    assert report.kept
    assert result.graph.inputs[0].dtype == ir.DataType.INT64
    np.testing.assert_allclose(run(result, i=i), run(model, i=i), atol=0.1)


def test_a_dead_input_does_no_harm(graph: Graph, bound: Bound, run: Run) -> None:
    model = graph(
        "g (float[n, 4] x, float[4, 3] w, float[3] b) => (float[n, 3] y) { y = Gemm (x, w, b) }",
        {"w": np.ones((4, 3), np.float32), "b": np.float32([0.1, -2.5, 0])},
    )
    x = np.zeros((40, 4), np.float32)
    result, _ = quantize_model(model, bound(model, x=x))
    np.testing.assert_allclose(run(result, x=x), run(model, x=x), atol=1e-4)


def test_nan_in_the_weights_names_the_node(
    residual_model: ir.Model, images: Array, bound: Bound
) -> None:
    spoiled = residual_model.graph.initializers["w3"].const_value.numpy().copy()
    spoiled[0] = np.nan
    residual_model.graph.initializers["w3"].const_value = ir.tensor(spoiled, name="w3")
    with pytest.raises(DataError, match=r"node 'project' \(Conv\).*NaN"):
        quantize_model(residual_model, bound(residual_model, image=images))


def test_data_of_another_shape_are_refused(residual_model: ir.Model) -> None:
    with pytest.raises(DataError):
        quantize_model(residual_model, Dataset.open({"image": np.ones((40, 3, 9, 9), "f4")}))


def test_operators_inside_a_subgraph_stay_float(graph: Graph, bound: Bound, run: Run) -> None:
    rng = np.random.default_rng(0)
    model = graph(
        """g (float[n, 4] x, float[4, 4] w) => (float[n, 4] y) <float zero = {0}>
        { h = MatMul (x, w)
          most = ReduceMax <keepdims = 0> (x)
          c = Greater (most, zero)
          y = If (c) <then_branch = then_g () => (float[n, 4] t) { t = MatMul (h, w) },
                      else_branch = else_g () => (float[n, 4] e) { e = Identity (h) }> }""",
        {"w": rng.normal(size=(4, 4)).astype(np.float32)},
    )
    x = rng.normal(size=(64, 4)).astype(np.float32)
    result, report = quantize_model(model, bound(model, x=x))
    precisions = {operator.op_type: operator.precision for operator in report.operators}
    assert precisions == {
        "MatMul": "int8",
        **{"ReduceMax": "float32", "If": "float32"},
    }
    np.testing.assert_allclose(run(result, x=x), run(model, x=x), atol=0.2)


def test_learned_rounding_keeps_up(
    residual_model: ir.Model, images: Array, bound: Bound, run: Run, sqnr: Sqnr
) -> None:
    reference = run(residual_model, image=images)
    found = {}
    for rounding in ("nearest", "in turn", "learned"):
        options = QuantizeOptions(rounding=rounding)
        result, _ = quantize_model(
            residual_model, bound(residual_model, image=images), options=options
        )
        found[rounding] = sqnr(reference, run(result, image=images))
    assert found["in turn"] > found["nearest"]
    assert found["learned"] > found["nearest"]
