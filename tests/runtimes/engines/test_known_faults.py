"""Faults of other engines: which nodes meet them, how a check says so, and how to avoid them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from runtimes import check, open_runtime
from runtimes.engines.avoid_faults import avoid_faults
from runtimes.engines.known_faults import known_faults
from runtimes.engines.opencv import OpenCvClassicRuntime
from runtimes.engines.recorded_sizes import with_recorded_sizes

Graph = Callable[[str], ir.Model]


def numbers(count: int) -> str:
    return ", ".join(f"{v:.3f}" for v in np.random.default_rng(count).standard_normal(count))


def convolution(
    sizes: tuple[int | str, ...],
    kernel: tuple[int, ...],
    attributes: str,
    *,
    depthwise: bool = False,
) -> str:
    """Eight channels in and out."""
    own = 1 if depthwise else 8
    shape = f"[8, {own}, {', '.join(map(str, kernel))}]"
    group = ", group = 8" if depthwise else ""
    dims = ", ".join(map(str, sizes))
    out = ", ".join(f"d{place}" for place in range(len(kernel)))
    return (
        f"g (float[N, 8, {dims}] x) => (float[N, 8, {out}] y)"
        f" <float{shape} w = {{{numbers(8 * own * int(np.prod(kernel)))}}}>"
        f"{{ [first] a = Neg(x)\n [conv] y = Conv<{attributes}{group}>(a, w) }}"
    )


def faulty(model: ir.Model, provider: str, *sizes: int) -> tuple[str, ...]:
    recorded = with_recorded_sizes(model, ((1, 8, *sizes),))
    return tuple(name for fault in known_faults(recorded, provider) for name in fault.nodes)


@pytest.mark.parametrize(
    ("sizes", "attributes", "meets"),
    [
        ((1, 8), "pads = [1, 1, 1, 1]", True),
        ((8, 1), "pads = [1, 1, 1, 1]", True),
        ((1, 1), "pads = [1, 1, 1, 1], strides = [2, 2]", True),
        ((2, 2), "pads = [1, 1, 1, 1]", False),
        ((1, 8), "pads = [2, 2, 2, 2]", False),
        ((8, 8), "pads = [1, 1, 1, 1], dilations = [2, 2]", True),
        ((8, 8), "pads = [1, 1, 1, 1], dilations = [2, 2], strides = [2, 2]", False),
        ((8, 8), "pads = [2, 2, 2, 2], dilations = [2, 2]", False),
        ((3, 8), "pads = [1, 1, 1, 1], dilations = [2, 1]", True),
        ((8, 8), "pads = [1, 1, 1, 1], dilations = [2, 1]", False),
        ((8, 8), "pads = [1, 1, 2, 2]", True),
        ((8, 8), "pads = [0, 0, 1, 1], strides = [2, 2]", False),
    ],
)
def test_depthwise_convolutions_that_the_classic_engine_gets_wrong(
    graph: Graph, sizes: tuple[int, int], attributes: str, meets: bool
) -> None:
    model = graph(convolution(("H", "W"), (3, 3), attributes, depthwise=True))
    assert faulty(model, "opencv-classic", *sizes) == (("conv",) if meets else ())
    assert faulty(model, "opencv", *sizes) == ()
    full = graph(convolution(("H", "W"), (3, 3), attributes))
    assert faulty(full, "opencv-classic", *sizes) == ()


@pytest.mark.parametrize(
    ("kernel", "meets"),
    [((9,), True), ((1, 9), True), ((9, 1), True), ((3, 3), False), ((8,), False), ((9, 9), False)],
)
def test_kernels_that_the_new_engine_takes_for_others(
    graph: Graph, kernel: tuple[int, ...], meets: bool
) -> None:
    sizes = (12,) * len(kernel)
    model = graph(convolution(sizes, kernel, "strides = [1" + ", 1" * (len(kernel) - 1) + "]"))
    assert faulty(model, "opencv", *sizes) == (("conv",) if meets else ())
    assert faulty(model, "opencv-classic", *sizes) == ()


@pytest.mark.parametrize(
    ("operator", "providers"),
    [
        (
            'MaxPool<kernel_shape = [2, 2], auto_pad = "SAME_LOWER">(x)',
            {"opencv", "opencv-classic"},
        ),
        ('MaxPool<kernel_shape = [2, 2], auto_pad = "SAME_UPPER">(x)', set()),
        (
            'LSTM<hidden_size = 4, direction = "reverse">(x, w, r)',
            {"opencv", "opencv-classic", "tract"},
        ),
        ('LSTM<hidden_size = 4, direction = "bidirectional">(x, w, r)', set()),
    ],
)
def test_faults_by_attribute(graph: Graph, operator: str, providers: set[str]) -> None:
    model = graph(
        "g (float[N, 2, 4] x, float[1, 16, 4] w, float[1, 16, 4] r) => (float[N, M] y)"
        f"{{ y = {operator} }}"
    )
    found = {
        one for one in ("cpu", "opencv", "opencv-classic", "tract") if known_faults(model, one)
    }
    assert found == providers


def test_many_nodes_are_counted(graph: Graph) -> None:
    body = "\n".join(
        f'[p{n}] a{n + 1} = MaxPool<kernel_shape = [2], auto_pad = "SAME_LOWER">(a{n})'
        for n in range(5)
    )
    (fault,) = known_faults(
        graph(f"g (float[N, 2, 4] a0) => (float[N, 2, 4] a5) {{ {body} }}"), "opencv"
    )
    assert str(fault).endswith("on the other side: 'p0', 'p1', 'p2' and 2 more")


@pytest.mark.parametrize("layers", [False, True])
def test_a_check_that_fails_names_the_likely_cause(
    graph: Graph, monkeypatch: pytest.MonkeyPatch, layers: bool
) -> None:
    """An engine that is wrong on one convolution, wherever it is in the model."""
    pytest.importorskip("cv2")
    call = OpenCvClassicRuntime._call

    def wrong(runtime: Any, opened: Any, feed: Any) -> Any:
        found = call(runtime, opened, feed)
        if any(layer.op_type.startswith("Convolution") for layer in runtime._layers(opened)):
            return [value + 1 for value in found]
        return found

    monkeypatch.setattr(OpenCvClassicRuntime, "_call", wrong)
    model = graph(convolution((1, 8), (3, 3), "pads = [1, 1, 1, 1]", depthwise=True))
    x = np.random.default_rng(0).standard_normal((4, 8, 1, 8)).astype(np.float32)
    report = check(model, model, x, providers=["opencv-classic", "cpu"], layers=layers)
    assert not report.passed
    (note,) = [note for note in report.notes if note.startswith("likely cause")]
    assert note.startswith("likely cause on opencv-classic: OpenCV's classic engine computes the")
    assert note.endswith("'conv'; it is the layer that departs" if layers else ": 'conv'")
    other = graph(convolution((2, 8), (3, 3), "pads = [1, 1, 1, 1]", depthwise=True))
    y = np.random.default_rng(0).standard_normal((4, 8, 2, 8)).astype(np.float32)
    notes = check(other, other, y, providers=["opencv-classic"]).notes
    assert not any("likely cause" in note for note in notes)


AVOIDED = [
    ("opencv", (1, 21), (1, 9), "pads = [0, 4, 0, 4]", [1, 10]),
    ("opencv", (30,), (9,), "dilations = [2], strides = [2]", [10]),
    ("opencv", (21, 2), (9, 1), "pads = [1, 0, 1, 0]", [10, 1]),
    ("opencv-classic", (1, 8), (3, 3), "pads = [1, 1, 1, 1]", [1, 3]),
    ("opencv-classic", (8, 1), (3, 3), "pads = [1, 1, 1, 1], strides = [2, 2]", [3, 1]),
    ("opencv-classic", (1, 1), (3, 3), "pads = [1, 1, 1, 1]", [1, 1]),
]


@pytest.mark.parametrize(("provider", "sizes", "kernel", "attributes", "after"), AVOIDED)
def test_faults_are_avoided_and_nothing_else_changes(
    graph: Graph,
    provider: str,
    sizes: tuple[int, ...],
    kernel: tuple[int, ...],
    attributes: str,
    after: list[int],
) -> None:
    pytest.importorskip("cv2")
    text = convolution(sizes, kernel, attributes, depthwise=provider == "opencv-classic")
    model = graph(text)
    assert faulty(model, provider, *sizes) == ("conv",)
    assert avoid_faults(model, provider) == ["conv"]
    assert list(model.graph[1].attributes["kernel_shape"].as_ints()) == after
    assert faulty(model, provider, *sizes) == ()
    assert avoid_faults(model, provider) == []
    x = np.random.default_rng(0).standard_normal((3, 8, *sizes)).astype(np.float32)
    with open_runtime(graph(text)) as runtime:
        want = runtime.run({"x": x})["y"]
    for one in ("cpu", provider):
        with open_runtime(model, one) as runtime:
            np.testing.assert_allclose(runtime.run({"x": x})["y"], want, rtol=1e-4, atol=1e-5)


def test_quantized_weights_are_changed_as_codes(graph: Graph) -> None:
    codes = ", ".join(str(v) for v in np.random.default_rng(0).integers(-9, 9, 144))
    text = (
        "g (float[N, 4, 1, 12] x) => (float[N, 4, 1, d] y)"
        f" <int8[4, 4, 1, 9] q = {{{codes}}}, float[4] s = {{0.1, 0.2, 0.3, 0.4}},"
        " int8[4] z = {%s}>"
        "{ [dq] w = DequantizeLinear<axis = 0>(q, s, z)\n [conv] y = Conv(x, w) }"
    )
    model = graph(text % "0, 0, 0, 0")
    x = np.random.default_rng(0).standard_normal((2, 4, 1, 12)).astype(np.float32)
    with open_runtime(model) as runtime:
        want = runtime.run({"x": x})["y"]
    assert avoid_faults(model, "opencv") == ["conv"]
    with open_runtime(model) as runtime:
        np.testing.assert_allclose(runtime.run({"x": x})["y"], want, rtol=1e-5)
    assert avoid_faults(graph(text % "0, 1, 0, 0"), "opencv") == []


def test_what_nothing_cheap_avoids_stays(graph: Graph) -> None:
    dilated = "pads = [1, 1, 1, 1], dilations = [2, 2]"
    for sizes, attributes in (((8, 8), dilated), (("H", "W"), "pads = [1, 1, 1, 1]")):
        model = graph(convolution(sizes, (3, 3), attributes, depthwise=True))
        assert avoid_faults(model, "opencv-classic") == []
    assert avoid_faults(graph(convolution((1, 21), (1, 9), "group = 1")), "cpu") == []
