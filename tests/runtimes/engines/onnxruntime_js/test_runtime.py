"""Models in ONNX Runtime for JavaScript: its tensors, its clock, its processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from node_packages import JAVASCRIPT, skip_without

from runtimes import ModelError, RuntimeUnavailable, open_runtime
from runtimes.base import SelfTimed
from runtimes.engines.onnxruntime_js.runtime import JavaScriptRuntime
from runtimes.profiling.memory import peak_memory
from runtimes.profiling.profile import profile

Graph = Callable[[str], ir.Model]

SUM = "g (float[n, 2] x) => (float[n, 2] y) { y = Add(x, x) }"
DTYPES = {
    "float16": "float16",
    "float": "float32",
    "double": "float64",
    "bool": "bool",
    **{kind: kind for kind in ("int8", "int16", "int32", "int64")},
    **{kind: kind for kind in ("uint8", "uint16", "uint32", "uint64")},
}


@pytest.fixture(params=JAVASCRIPT)
def provider(request: pytest.FixtureRequest) -> str:
    skip_without(request.param)
    return str(request.param)


def opened(model: Any, provider: str) -> JavaScriptRuntime:
    runtime = open_runtime(model, provider)
    assert isinstance(runtime, JavaScriptRuntime)
    return runtime


def test_every_element_type_goes_in_and_out(provider: str, graph: Graph) -> None:
    takes = ", ".join(f"{kind}[n, 3] in_{kind}" for kind in DTYPES)
    gives = ", ".join(f"{kind}[n, 3] out_{kind}" for kind in DTYPES)
    copies = "\n".join(f"out_{kind} = Identity(in_{kind})" for kind in DTYPES)
    feed = {
        f"in_{kind}": np.array([[0, 1, 100], [3, 0, 2]]).astype(dtype)
        for kind, dtype in DTYPES.items()
    }
    with opened(graph(f"g ({takes}) => ({gives}) {{ {copies} }}"), provider) as runtime:
        found = runtime.run(feed)
    for kind, dtype in DTYPES.items():
        assert found[f"out_{kind}"].dtype == dtype
        np.testing.assert_array_equal(found[f"out_{kind}"], feed[f"in_{kind}"])


def test_text_goes_in_and_out(provider: str, graph: Graph) -> None:
    words = np.array([["käse", ""], ["日本", "a"]], object)
    model = graph("g (string[n, 2] s) => (string[n, 2] t) { t = Identity(s) }")
    with opened(model, provider) as runtime:
        found = runtime.run({"s": words})["t"]
    assert found.tolist() == words.tolist()


def test_numbers_keep_their_bits(provider: str, graph: Graph) -> None:
    x = np.float32([[np.nan, np.inf], [-0.0, np.finfo(np.float32).tiny]])
    n = np.int64([[2**62 + 1, -(2**63)]])
    model = graph(
        "g (float[a, 2] x, int64[b, 2] n) => (float[a, 2] y, int64[b, 2] m)"
        "{ y = Identity(x)\n m = Identity(n) }"
    )
    with opened(model, provider) as runtime:
        found = runtime.run({"x": x, "n": n})
    assert found["y"].tobytes() == x.tobytes()
    np.testing.assert_array_equal(found["m"], n)


def test_a_type_without_tensors_is_named(provider: str, graph: Graph) -> None:
    model = graph("g (bfloat16[n] x) => (bfloat16[n] y) { y = Identity(x) }")
    with pytest.raises(ModelError, match=f"'x' is bfloat16, of which {provider} has no tensors"):
        open_runtime(model, provider)


def test_versions_build_and_threads_are_told(provider: str, graph: Graph) -> None:
    with opened(graph(SUM), provider) as runtime:
        (where,) = runtime.placement.counts or ()
    assert where.startswith(f"{provider} ")
    assert "Node" in where
    assert "threads: 1" in where
    assert ("WebAssembly with SIMD" in where) == (provider == "onnxruntime-web")


def test_a_model_that_does_not_load_is_named(provider: str, graph: Graph) -> None:
    model = graph("g (float[n] x) => (float[n] y) { y = Nothing(x) }")
    with pytest.raises(ModelError, match=f"does not load in {provider}: .*Nothing"):
        open_runtime(model, provider)


def test_the_process_times_itself(provider: str, graph: Graph) -> None:
    with opened(graph(SUM), provider) as runtime:
        call = runtime.prepare({"x": np.ones((1, 2), np.float32)})
        assert isinstance(call, SelfTimed)
        before = time.perf_counter()
        seconds = call()
        whole = time.perf_counter() - before
    assert 0 < seconds < whole


def test_profile_uses_that_clock(provider: str, graph: Graph) -> None:
    report = profile(graph(SUM), provider=provider, min_time=0.01, max_time=0.1)
    assert report.provider == provider
    assert report.batches[0].model.p50_ms > 0


def test_memory_is_that_of_the_process_that_has_the_model(
    provider: str, graph: Graph, tmp_path: Path
) -> None:
    model = graph("g (float[n, 2] x) => (float[n, m] y) { y = MatMul(x, w) }")
    weights = ir.tensor(np.ones((2, 4_000_000), np.float32), name="w")
    value = next(iter(model.graph)).inputs[1]
    assert value is not None
    value.name, value.const_value = "w", weights
    model.graph.register_initializer(value)
    path = tmp_path / "large.onnx"
    ir.save(model, path)
    feed = {"x": np.ones((1, 2), np.float32)}
    assert peak_memory(path, feed, provider=provider, threads=1) > weights.nbytes


def test_models_do_not_share_a_process(provider: str, graph: Graph) -> None:
    x = np.ones((1, 2), np.float32)
    with opened(graph(SUM), provider) as one, opened(graph(SUM), provider) as other:
        assert one._worker.pid != other._worker.pid
        os.kill(one._worker.pid, signal.SIGKILL)
        with pytest.raises(ModelError, match=f"failed when it ran in {provider}: the process was"):
            one.run({"x": x})
        np.testing.assert_array_equal(other.run({"x": x})["y"], 2 * x)


def test_a_model_that_hangs_is_ended(
    provider: str, graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KILNX_NODE_TIMEOUT", "20")
    with opened(graph(SUM), provider) as runtime:
        os.kill(runtime._worker.pid, signal.SIGSTOP)
        runtime._worker._seconds = 0.5
        with pytest.raises(ModelError, match=r"gave no answer for 0\.5 s and was ended"):
            runtime.run({"x": np.ones((1, 2), np.float32)})


@pytest.mark.parametrize("text", ["soon", "0", "-1", "inf", "nan"])
def test_a_timeout_is_a_number_of_seconds(
    provider: str, graph: Graph, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("KILNX_NODE_TIMEOUT", text)
    with pytest.raises(RuntimeUnavailable, match="must be a number of seconds above 0, not"):
        open_runtime(graph(SUM), provider)


def test_a_package_that_does_not_start_is_named(
    provider: str, graph: Graph, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package = tmp_path / provider
    package.mkdir()
    (package / "package.json").write_text('{"version": "9.9.9", "main": "gone.js"}', "utf-8")
    monkeypatch.setenv("KILNX_NODE_MODULES", str(tmp_path))
    with pytest.raises(RuntimeUnavailable, match=r"9\.9\.9 in .* does not start in Node: .*Error"):
        open_runtime(graph(SUM), provider)


def test_the_process_notices_that_kilnx_was_killed(provider: str, onnx_file: Path) -> None:
    started = (
        "import os, subprocess, sys; from runtimes import open_runtime\n"
        f"runtime = open_runtime({str(onnx_file)!r}, {provider!r})\n"
        # It inherits the pipes, so that nothing but the parent's death tells.
        "keeper = subprocess.Popen(['sleep', '600'], close_fds=False, pass_fds=(\n"
        "    runtime._worker._channel.reader, runtime._worker._channel.writer))\n"
        "print(runtime._worker.pid, keeper.pid, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", started],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as parent:
        assert parent.stdout is not None
        pid, keeper = map(int, parent.stdout.readline().split())
        parent.kill()
        parent.wait()
        parent.stdout.close()
        until = time.monotonic() + 60
        while _runs(pid) and time.monotonic() < until:
            time.sleep(0.05)
        os.kill(keeper, signal.SIGKILL)
    assert not _runs(pid)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@pytest.fixture
def onnx_file(graph: Graph, tmp_path: Path) -> Path:
    path = tmp_path / "sum.onnx"
    ir.save(graph(SUM), path)
    return path
