"""What OpenVINO's CPU device really runs: the nodes of its runtime model, with their precision.

Its low precision transformations decide which Q/DQ become INT8 kernels and which are computed in
float32, and its plugin fuses further; only the compiled model tells.
https://docs.openvino.ai/2026/openvino-workflow/running-inference/optimize-inference.html
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import onnx_ir as ir

from runtimes.engines.provider_table import require_package
from runtimes.engines.self_contained import self_contained
from runtimes.onnx_files.load_save import ModelSource, load_model

_BYTES = frozenset({"i8", "u8"})
_NOTHING_RUNS = frozenset({"Const", "Input", "Output"})


@dataclass(frozen=True)
class RuntimeNode:
    """A kernel: its ``kind`` (Convolution, say), ``precision`` and implementation.

    ``origins``: names of the nodes of the file that went into it. ``reads`` and ``writes``:
    precision and shape, as far as it is static, of what goes in and out.
    """

    name: str
    kind: str
    precision: str
    primitive: str
    origins: tuple[str, ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...]

    @property
    def on_bytes(self) -> bool:
        """Whether it computes in INT8."""
        return self.precision in _BYTES


def require_openvino() -> Any:
    """Import OpenVINO, or raise ``RuntimeUnavailable`` with the command that installs it."""
    return require_package("openvino", "OpenVINO", "openvino")


def compile_model(model: ModelSource, *, threads: int | None, counts: bool = False) -> Any:
    """``model`` compiled for OpenVINO's CPU device, in float32 where it does not ask for INT8.

    ``counts``: whether the time of every node is taken.
    """
    options: dict[str, object] = {
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "PERF_COUNT": counts,
    }
    if threads is not None:
        options["INFERENCE_NUM_THREADS"] = threads
    require_openvino()
    core = _core()
    proto = ir.to_proto(self_contained(load_model(model)))
    return core.compile_model(core.read_model(proto.SerializeToString()), "CPU", options)


@cache
def _core() -> Any:
    """OpenVINO's core, one for all models, which stays.

    Each core gives the thread another stack for signals and takes it back at its end (2026.4), in
    whichever order: with two of them a stack can stay in use that is freed, and Ctrl-C then ends
    the process by a segmentation fault.
    """
    return require_openvino().Core()


def runtime_nodes(compiled: Any) -> Iterator[RuntimeNode]:
    """The nodes of a compiled model that run, in order."""
    for node in compiled.get_runtime_model().get_ordered_ops():
        kind = _told(node, "layerType")
        if kind not in _NOTHING_RUNS:
            yield RuntimeNode(
                name=str(node.get_friendly_name()),
                kind=kind,
                precision=_told(node, "runtimePrecision"),
                primitive=_told(node, "primitiveType"),
                origins=tuple(filter(None, _told(node, "originalLayersNames").split(","))),
                reads=tuple(_tensor(port) for port in node.inputs()),
                writes=tuple(_tensor(port) for port in node.outputs()),
            )


def _told(node: Any, key: str) -> str:
    information = node.get_rt_info()
    return str(information[key].value) if key in information else ""


def _tensor(port: Any) -> str:
    shape = port.get_partial_shape()
    return f"{port.get_element_type().get_type_name()}{shape}"
