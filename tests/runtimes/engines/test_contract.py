"""What every engine does alike: one contract, run on each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_models import WEIGHTS, write_keras_files, write_onnx_files
from node_packages import JAVASCRIPT, skip_without

from runtimes import DataError, KilnxError, ModelError, Runtime, SharedWeights, open_runtime
from runtimes.engines.batching import run_padded
from runtimes.engines.open_runtime import borrow, is_runtime

FEED = {"x": np.float32([[1, 2, 3], [4, 5, 6]]), "n": np.int64([[1, -1], [0, 7]])}


@dataclass(frozen=True)
class Engine:
    """One engine, the models as files that it reads, and what it says of itself."""

    files: Mapping[str, Path]
    open: Callable[..., Runtime]
    asked: str
    takes_threads: bool = False
    threads: int | None = None

    def __call__(self, model: str) -> Runtime:
        return self.open(self.files[model])


@pytest.fixture(scope="module")
def onnx_files(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    return write_onnx_files(tmp_path_factory.mktemp("onnx"))


@pytest.fixture(scope="module")
def keras_files(tmp_path_factory: pytest.TempPathFactory, keras: Any) -> Mapping[str, Path]:
    return write_keras_files(tmp_path_factory.mktemp("keras"), keras)


@pytest.fixture(params=["cpu", "shared", "cuda", "reference", "openvino", *JAVASCRIPT, "keras"])
def engine(request: pytest.FixtureRequest, onnx_files: Mapping[str, Path]) -> Iterator[Engine]:
    with ExitStack() as stack:
        if request.param == "keras":
            files = request.getfixturevalue("keras_files")
            yield Engine(files, open_runtime, "keras")
            return
        if request.param == "shared":
            shared = stack.enter_context(SharedWeights(threads=1))
            yield Engine(onnx_files, shared.open, "cpu", threads=1)
            return
        skip_what_is_absent(request.param)

        def open_on(path: Path, **options: Any) -> Runtime:
            return open_runtime(path, request.param, **options)

        if request.param == "reference":
            yield Engine(onnx_files, open_on, "reference")
        else:
            yield Engine(onnx_files, open_on, request.param, takes_threads=True, threads=1)


def skip_what_is_absent(provider: str) -> None:
    if provider == "openvino":
        pytest.importorskip("openvino")
    if provider in JAVASCRIPT:
        skip_without(provider)
    if provider == "cuda":
        onnxruntime = pytest.importorskip("onnxruntime")
        if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            pytest.skip("no CUDA provider here")


def test_inputs_and_outputs_are_named_and_typed(engine: Engine) -> None:
    with engine("two") as runtime:
        inputs = {spec.name: str(spec) for spec in runtime.inputs}
        outputs = {spec.name: str(spec) for spec in runtime.outputs}
    assert inputs == {"x": "x: float32[batch, 3]", "n": "n: int64[batch, 2]"}
    assert outputs == {"double": "double: float32[batch, 3]", "m": "m: int64[batch, 2]"}


def test_a_runtime_says_what_it_opened(engine: Engine) -> None:
    with engine("linear") as runtime:
        assert is_runtime(runtime)
        assert runtime.name == str(engine.files["linear"])
        assert runtime.source is not None
        with borrow(runtime) as same:
            assert same is runtime


@pytest.mark.parametrize("count", [1, 2, 7])
def test_results_are_right_at_every_batch_size(engine: Engine, count: int) -> None:
    x = np.random.default_rng(count).standard_normal((count, 2)).astype(np.float32)
    with engine("linear") as runtime:
        found = runtime.run({"x": x})
    assert list(found) == [spec.name for spec in runtime.outputs]
    (y,) = found.values()
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, np.maximum(x @ WEIGHTS, 0), rtol=1e-5, atol=1e-6)


def test_weights_in_a_second_file_are_found(engine: Engine) -> None:
    if "external" not in engine.files:
        pytest.skip("Keras keeps a model in one file")
    x = np.float32([[1, 2]])
    with engine("external") as runtime:
        np.testing.assert_allclose(runtime.run({"x": x})["y"], np.maximum(x @ WEIGHTS, 0))


def test_a_default_holds_unless_another_value_is_fed(engine: Engine) -> None:
    if "default" not in engine.files:
        pytest.skip("inputs of Keras have no defaults")
    x, other = np.float32([[1, 2]]), np.float32([[1, 0, 0], [0, 1, 0]])
    with engine("default") as runtime:
        assert [spec.name for spec in runtime.inputs] == ["x"]
        np.testing.assert_allclose(runtime.run({"x": x})["y"], np.maximum(x @ WEIGHTS, 0))
        if runtime.optional_inputs:
            assert [str(spec) for spec in runtime.optional_inputs] == ["w: float32[2, 3]"]
            np.testing.assert_array_equal(runtime.run({"x": x, "w": other})["y"], [[1, 2, 0]])
        else:  # the engine has made it a constant
            with pytest.raises(DataError, match="takes the inputs 'x', the data hold 'w', 'x'"):
                runtime.run({"x": x, "w": other})


def test_outputs_come_as_asked_and_stay_as_they_are(engine: Engine) -> None:
    with engine("two") as runtime:
        assert list(runtime.run(FEED, ["m"])) == ["m"]
        assert list(runtime.run(FEED, ["m", "double"])) == ["m", "double"]
        assert runtime.run(FEED, []) == {}
        first = runtime.run(FEED)
        runtime.run({name: np.zeros_like(array) for name, array in FEED.items()})
    np.testing.assert_array_equal(first["double"], 2 * FEED["x"])
    np.testing.assert_array_equal(first["m"], -FEED["n"])


@pytest.mark.parametrize(
    ("feed", "message"),
    [
        ({"x": FEED["x"]}, "takes the inputs 'n', 'x', the data hold 'x'"),
        ({**FEED, "q": FEED["x"]}, "takes the inputs 'n', 'x', the data hold 'n', 'q', 'x'"),
        (
            {**FEED, "n": np.int32([[1, 2]])},
            "takes n: int64[batch, 2], the data hold int32[1, 2]",
        ),
        (
            {**FEED, "x": np.zeros((2, 4), np.float32)},
            "takes x: float32[batch, 3], the data hold float32[2, 4]",
        ),
        (
            {**FEED, "x": np.zeros(3, np.float32)},
            "takes x: float32[batch, 3], the data hold float32[3]",
        ),
    ],
)
def test_a_feed_that_does_not_fit_is_refused_in_the_same_words(
    engine: Engine, feed: dict[str, np.ndarray], message: str
) -> None:
    with engine("two") as runtime:
        for use in (runtime.run, runtime.prepare):
            with pytest.raises(DataError) as error:
                use(feed)
            assert str(error.value) == f"{runtime.name} {message}"


def test_an_output_that_is_not_there_is_refused(engine: Engine) -> None:
    with engine("two") as runtime, pytest.raises(ModelError) as error:
        runtime.run(FEED, ["double", "q"])
    assert str(error.value) == f"{runtime.name} has no output 'q'; it has 'double', 'm'"


@pytest.mark.parametrize("count", [1, 3, 4])
def test_a_fixed_batch_is_padded_or_refused(engine: Engine, count: int) -> None:
    x = np.arange(2 * count, dtype=np.float32).reshape(count, 2)
    with engine("fixed") as runtime:
        np.testing.assert_array_equal(run_padded(runtime, {"x": x})["y"], -x)
        more = np.zeros((4 + count, 2), np.float32)
        with pytest.raises(DataError, match=f"takes 4 samples per run, not {4 + count}"):
            run_padded(runtime, {"x": more})
        with pytest.raises(DataError) as error:
            runtime.run({"x": more})
    shown = f"takes x: float32[4, 2], the data hold float32[{4 + count}, 2]"
    assert str(error.value) == f"{runtime.name} {shown}"


def test_what_is_prepared_runs_any_number_of_times(engine: Engine) -> None:
    with engine("two") as runtime:
        call = runtime.prepare(FEED)
        call()
        call()
        np.testing.assert_array_equal(runtime.run(FEED)["double"], 2 * FEED["x"])


def test_a_closed_runtime_runs_nothing(engine: Engine) -> None:
    runtime = engine("two")
    runtime.close()
    runtime.close()
    for use in (runtime.run, runtime.prepare):
        with pytest.raises(RuntimeError, match=r"the runtime of .*two\.\w+ is closed; open the"):
            use(FEED)
    with pytest.raises(RuntimeError, match="is closed"), runtime:
        pass
    with pytest.raises(RuntimeError, match="is closed"):
        _ = runtime.source
    assert {spec.name for spec in runtime.inputs} == {"x", "n"}
    with engine("two") as runtime:
        pass
    with pytest.raises(RuntimeError, match="is closed"):
        runtime.run(FEED)


def test_it_is_told_where_the_nodes_run(engine: Engine) -> None:
    with engine("two") as runtime:
        placement = runtime.placement
    assert placement.asked == engine.asked
    assert sum(placement.counts.values()) >= 2
    assert not placement.elsewhere


def test_threads_are_told_and_counted_from_one(engine: Engine) -> None:
    if engine.takes_threads:
        for threads in (2, None):
            with engine.open(engine.files["two"], threads=threads) as runtime:
                assert runtime.threads == threads
                np.testing.assert_array_equal(runtime.run(FEED)["double"], 2 * FEED["x"])
    provider = "cpu" if engine.asked == "keras" else engine.asked
    with pytest.raises(ValueError, match="threads must be at least 1, not 0"):
        open_runtime(engine.files["two"], provider, threads=0)
    with engine("two") as runtime:
        assert runtime.threads == engine.threads


def test_quantized_models_are_told_from_float_ones(engine: Engine) -> None:
    with engine("two") as runtime:
        assert not runtime.quantized
    if engine.asked == "cuda":
        with pytest.raises(ModelError, match=r"quantized\.onnx is an INT8 model"):
            engine("quantized")
        return
    with engine("quantized") as runtime:
        assert runtime.quantized
        (y,) = runtime.run({"x": np.float32([[0.3, -9, 200, 1]])}).values()
    assert y.shape == (1, 4)
    if engine.asked != "keras":
        np.testing.assert_array_equal(y, [[0.5, -4, 123.5, 1]])


def test_errors_name_the_file(engine: Engine) -> None:
    with pytest.raises(KilnxError, match=r"damaged\.\w+"):
        engine("damaged")
    if engine.asked == "openvino":
        return  # its CPU plugin checks no shapes when it runs, and gives whatever is in memory
    bad = {"a": np.ones((2, 2), np.float32), "b": np.ones((3, 2), np.float32)}
    with engine("failing") as runtime, pytest.raises(ModelError) as error:
        runtime.run(bad)
    start = f"{engine.files['failing']} failed when it ran in {runtime.engine}: "
    assert str(error.value).startswith(start)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) > len(start)
