"""A provider that is asked for is the one that ran; the others say so."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from runtimes import ModelError, Runtime, RuntimeUnavailable, check, open_runtime
from runtimes.engines.ort_cuda import CudaOptions
from runtimes.engines.ort_session import require_provider
from runtimes.engines.placement import judge_placement, read_placement
from runtimes.engines.provider_table import TABLE
from runtimes.engines.providers import installed_providers, is_available

Graph = Callable[[str], ir.Model]

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
TENSORRT, OPENVINO = "TensorrtExecutionProvider", "OpenVINOExecutionProvider"
SUM = "g (float[n, 2] x) => (float[n, 2] y) { [twice] a = Add(x, x)\n [gone] y = Neg(a) }"


class FakeBinding:
    """Records what is bound, and gives zeros."""

    def __init__(self, log: list[Any]) -> None:
        self.log, self.outputs = log, []

    def bind_cpu_input(self, name: str, values: Any) -> None:
        self.log.append(("input from the host", name))

    def bind_ortvalue_input(self, name: str, value: Any) -> None:
        self.log.append(("input on the device", name, value))

    def bind_output(self, name: str, device: str, index: int = 0) -> None:
        self.outputs.append(name)
        self.log.append(("output", name, device))

    def bind_ortvalue_output(self, name: str, value: Any) -> None:
        self.log.append(("output kept", name, value))

    def get_outputs(self) -> list[str]:
        return [f"place of {name}" for name in self.outputs]

    def copy_outputs_to_cpu(self) -> list[Any]:
        return [np.zeros((1, 2), np.float32) for _ in self.outputs]

    def synchronize_outputs(self) -> None:
        self.log.append("waited")


class FakeSession:
    """What ONNX Runtime would be on a machine with a GPU, and what it was told."""

    def __init__(self, source: Any, options: Any, providers: Any) -> None:
        self.log: list[Any] = []
        self.providers, self.options = providers, options
        FakeSession.last = self

    last: FakeSession
    nodes: dict[str, list[str]] = {CUDA: ["twice", "gone"]}  # noqa: RUF012

    def disable_fallback(self) -> None:
        self.log.append("no fallback")

    def get_inputs(self) -> list[Any]:
        return [SimpleNamespace(name="x", type="tensor(float)", shape=["n", 2])]

    def get_overridable_initializers(self) -> list[Any]:
        return []

    def get_outputs(self) -> list[Any]:
        return [SimpleNamespace(name="y", type="tensor(float)", shape=["n", 2])]

    def get_provider_graph_assignment_info(self) -> list[Any]:
        return [
            SimpleNamespace(
                ep_name=provider,
                get_nodes=lambda names=names: [
                    SimpleNamespace(name=name, op_type="Add") for name in names
                ],
            )
            for provider, names in self.nodes.items()
        ]

    def io_binding(self) -> FakeBinding:
        return FakeBinding(self.log)

    def run(self, names: Any, feed: Any, options: Any) -> list[Any]:
        self.log.append("ran on the host")
        return [np.zeros((1, 2), np.float32) for _ in names]

    def run_with_iobinding(self, binding: Any, options: Any) -> None:
        self.log.append("ran")


@pytest.fixture
def gpu_machine(monkeypatch: pytest.MonkeyPatch) -> type[FakeSession]:
    import onnxruntime

    fake = SimpleNamespace(
        get_available_providers=lambda: [TENSORRT, CUDA, OPENVINO, CPU],
        SessionOptions=onnxruntime.SessionOptions,
        RunOptions=onnxruntime.RunOptions,
        GraphOptimizationLevel=onnxruntime.GraphOptimizationLevel,
        InferenceSession=FakeSession,
        OrtValue=SimpleNamespace(
            ortvalue_from_numpy=lambda values, device_type, device_id: (device_type, device_id)
        ),
    )
    monkeypatch.setattr(sys.modules["runtimes.engines.ort"], "require_onnxruntime", lambda: fake)
    monkeypatch.setattr(FakeSession, "nodes", {CUDA: ["twice", "gone"]})
    return FakeSession


X = {"x": np.ones((1, 2), np.float32)}


def test_cuda_runs_bound_with_tf32_off(graph: Graph, gpu_machine: type[FakeSession]) -> None:
    with open_runtime(graph(SUM), "cuda") as runtime:
        session = gpu_machine.last
        assert runtime.run(X)["y"].shape == (1, 2)
    ((provider, options),) = session.providers
    assert provider == CUDA
    assert options["use_tf32"] == "0"
    assert options["enable_cuda_graph"] == "0"
    assert options["arena_extend_strategy"] == "kSameAsRequested"
    assert session.log == [
        "no fallback", ("input from the host", "x"), ("output", "y", "cpu"), "ran",
    ]  # fmt: skip
    assert str(runtime.placement) == f"cuda: 2 nodes on {CUDA}"


def test_cuda_options_reach_the_provider(graph: Graph, gpu_machine: type[FakeSession]) -> None:
    options = CudaOptions(
        tf32=True, memory_limit_bytes=10**9, grow_exactly=False, graph_capture=True, device=1
    )
    open_runtime(graph(SUM), "cuda", cuda=options).close()
    ((_, found),) = gpu_machine.last.providers
    assert found == {
        "device_id": "1",
        "use_tf32": "1",
        "arena_extend_strategy": "kNextPowerOfTwo",
        "enable_cuda_graph": "1",
        "gpu_mem_limit": "1000000000",
    }


def test_timing_on_cuda_copies_nothing_and_waits(
    graph: Graph, gpu_machine: type[FakeSession]
) -> None:
    with open_runtime(graph(SUM), "cuda") as runtime:
        call = runtime.prepare(X)
        log = gpu_machine.last.log
        assert ("input on the device", "x", ("cuda", 0)) in log
        assert ("output kept", "y", "place of y") in log
        log.clear()
        call()
    assert log == ["ran", "waited"]


def test_a_fallback_to_the_cpu_is_caught(
    graph: Graph, gpu_machine: type[FakeSession], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeSession, "nodes", {CUDA: ["twice"], CPU: ["gone"]})
    with pytest.raises(
        RuntimeUnavailable,
        match=r"1 of 2 nodes would not run on 'cuda': 'gone' \(Add\) on CPUExecutionProvider",
    ):
        open_runtime(graph(SUM), "cuda")
    with open_runtime(graph(SUM), "cuda", allow_fallback=True) as runtime:
        placement = runtime.placement
    assert placement.counts == {CUDA: 1, CPU: 1}
    assert [node.node for node in placement.elsewhere] == ["gone"]


def test_int8_on_cuda_is_refused_with_advice(graph: Graph, gpu_machine: Any) -> None:
    model = graph(
        "g (float[n, 2] x) => (float[n, 2] y) <float s = {0.1}, uint8 z = {0}>"
        "{ q = QuantizeLinear(x, s, z)\n y = DequantizeLinear(q, s, z) }"
    )
    with pytest.raises(ModelError, match=r"no INT8 kernels.*fp16, or --provider tensorrt"):
        open_runtime(model, "cuda")


QDQ = (
    "g (float[n, 2] x) => (float[n, 2] y) <float s = {0.1}, uint8 z = {0}>"
    "{ [twice] q = QuantizeLinear(x, s, z)\n [gone] y = DequantizeLinear(q, s, z) }"
)


@pytest.mark.parametrize(("text", "int8"), [(SUM, "0"), (QDQ, "1")])
def test_tensorrt_runs_int8_and_keeps_float32(
    graph: Graph,
    gpu_machine: type[FakeSession],
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    int8: str,
) -> None:
    monkeypatch.setattr(FakeSession, "nodes", {TENSORRT: ["twice", "gone"]})
    with open_runtime(graph(text), "tensorrt", cuda=CudaOptions(device=1)) as runtime:
        session = gpu_machine.last
        assert runtime.run(X)["y"].shape == (1, 2)
        runtime.prepare(X)()
    options = {"device_id": "1", "trt_fp16_enable": "0", "trt_int8_enable": int8}
    assert session.providers == [(TENSORRT, options)]
    assert ("input on the device", "x", ("cuda", 1)) in session.log
    assert "ran on the host" not in session.log
    assert str(runtime.placement) == f"tensorrt: 2 nodes on {TENSORRT}"


def test_what_tensorrt_lacks_runs_on_cuda_where_that_is_allowed(
    graph: Graph, gpu_machine: type[FakeSession], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeSession, "nodes", {TENSORRT: ["twice"], CUDA: ["gone"]})
    with pytest.raises(RuntimeUnavailable, match=f"would not run on 'tensorrt': 'gone' .* {CUDA}"):
        open_runtime(graph(SUM), "tensorrt")
    assert [name for name, _ in gpu_machine.last.providers] == [TENSORRT]
    with open_runtime(graph(SUM), "tensorrt", allow_fallback=True) as runtime:
        assert [name for name, _ in gpu_machine.last.providers] == [TENSORRT, CUDA]
    assert [node.provider for node in runtime.placement.elsewhere] == [CUDA]


@pytest.mark.parametrize(("threads", "told"), [(2, {"num_of_threads": "2"}), (None, {})])
def test_openvino_inside_onnx_runtime_keeps_float32(
    graph: Graph,
    gpu_machine: type[FakeSession],
    monkeypatch: pytest.MonkeyPatch,
    threads: int | None,
    told: dict[str, str],
) -> None:
    monkeypatch.setattr(FakeSession, "nodes", {OPENVINO: ["twice", "gone"]})
    with open_runtime(graph(SUM), "ort-openvino", threads=threads) as runtime:
        session = gpu_machine.last
        assert runtime.run(X)["y"].shape == (1, 2)
    assert session.providers == [(OPENVINO, {"device_type": "CPU", "precision": "FP32", **told})]
    assert session.log == ["no fallback", "ran on the host"]
    assert str(runtime.placement) == f"ort-openvino: 2 nodes on {OPENVINO}"


@pytest.mark.parametrize(
    ("provider", "advice"),
    [
        ("cuda", r"For an NVIDIA GPU: .*\[gpu\]', and install the CUDA libraries"),
        ("tensorrt", r"For an NVIDIA GPU: .*\[gpu\]', and install TensorRT and the CUDA"),
        ("ort-openvino", r"OpenVINO's build of ONNX Runtime has it: .*\[ort-openvino\]'$"),
    ],
)
def test_a_provider_that_this_onnx_runtime_lacks_says_which_has_it(
    provider: str, advice: str
) -> None:
    with pytest.raises(RuntimeUnavailable, match=f"has no provider '{provider}'.*{advice}"):
        require_provider(provider, [CPU])


def test_a_runtime_that_cannot_tell_is_not_believed() -> None:
    with pytest.raises(RuntimeUnavailable, match="does not report on which provider"):
        read_placement(SimpleNamespace(get_providers=lambda: [CUDA, CPU]))


def test_with_nothing_but_the_cpu_there_is_nothing_to_tell() -> None:
    nodes = read_placement(SimpleNamespace(get_providers=lambda: [CPU]))
    assert nodes is None
    placement = judge_placement(nodes, "cpu", CPU, allow_fallback=False, model="m")
    assert str(placement) == f"cpu: all nodes on {CPU}"


def test_the_placement_on_the_cpu_is_read_back(graph: Graph) -> None:
    with open_runtime(graph(SUM)) as runtime:
        assert runtime.placement.counts == {CPU: 2}


def test_the_reference_evaluator_is_a_runtime(graph: Graph) -> None:
    model = graph(SUM)
    report = check(model, model, X, providers=("cpu", "reference"))
    assert report.passed
    assert [row["provider"] for row in report.rows()] == ["cpu", "reference"]
    assert [placement.asked for placement in report.placements] == ["cpu", "reference"]
    with open_runtime(model, "reference") as runtime:
        np.testing.assert_array_equal(runtime.run(X)["y"], np.full((1, 2), -2))
        runtime.prepare(X)()
    odd = graph("g (float[n, 2] x) => (float[n, 2] y) { y = local.Sparkle(x) }")
    with pytest.raises(ModelError, match=r"in the ONNX reference evaluator: .*Sparkle"):
        open_runtime(odd, "reference")


def test_every_optimization_level_is_a_row(graph: Graph) -> None:
    report = check(
        graph(SUM), graph(SUM), X, providers=("cpu", "reference"), optimizations=("disabled", "all")
    )
    assert [row["provider"] for row in report.rows()] == ["cpu, disabled", "cpu, all", "reference"]
    assert report.passed


def test_openvino_is_a_second_runtime(graph: Graph) -> None:
    pytest.importorskip("openvino")
    report = check(graph(SUM), graph(SUM), X, providers=("openvino",))
    assert report.passed
    (placement,) = report.placements
    assert " nodes on OpenVINO CPU (" in str(placement)
    assert placement.layers
    with open_runtime(graph(SUM), "openvino", threads=1) as runtime:
        runtime.prepare(X)()
    odd = graph("g (float[n, 2] x) => (float[n, 2] y) { y = local.Sparkle(x) }")
    with pytest.raises(ModelError, match="does not load in OpenVINO"):
        open_runtime(odd, "openvino")


def test_openvino_that_is_not_there_says_how_to_get_it(
    graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(RuntimeUnavailable, match="the extra 'openvino' brings it: pip"):
        open_runtime(graph(SUM), "openvino")


def test_a_provider_that_is_not_installed_is_named_before_anything_is_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert not is_available("openvino")
    assert "openvino" not in installed_providers()
    with pytest.raises(RuntimeUnavailable, match="the extra 'openvino' brings it: pip") as error:
        check("no such file", "nor this", X, providers=("cpu", "openvino"))
    assert error.value.exit_code == 3


def test_the_table_names_engines_and_options_that_exist() -> None:
    for name, row in TABLE.items():
        assert row.name == name
        assert issubclass(row.load(), Runtime)
        parameters = inspect.signature(row.load()).parameters
        assert set(row.options) <= set(parameters)


@pytest.mark.gpu
def test_cuda_gives_what_the_cpu_gives(graph: Graph) -> None:
    import onnxruntime

    if CUDA not in onnxruntime.get_available_providers():
        pytest.skip("no CUDA provider here")
    rng = np.random.default_rng(0)
    weights = ", ".join(map(str, rng.standard_normal(64)))
    model = graph(
        f"g (float[n, 8] x) => (float[n, 8] y) <float[8, 8] w = {{{weights}}}>"
        "{ a = MatMul(x, w)\n b = Relu(a)\n y = MatMul(b, w) }"
    )
    x = rng.standard_normal((64, 8)).astype(np.float32)
    report = check(model, model, x, providers=("cuda",))
    assert report.passed, report.reason
    assert report.placements[0].counts.keys() == {CUDA}
    with open_runtime(model, "cuda", cuda=CudaOptions(graph_capture=True)) as runtime:
        call = runtime.prepare({"x": x})
        call()
        call()
