"""The table of places where a model can run: engine, extra, and what an engine takes.

A row is read without importing its engine, so that a name is known, and an engine that is not
installed is named, before anything is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from runtimes.errors import RuntimeUnavailable
from runtimes.extras import missing_extra

_ORT_OPTIONS = (
    "provider",
    "threads",
    "optimization",
    "optimized_model_path",
    "config",
    "arena",
    "allow_fallback",
    "cuda",
)


@dataclass(frozen=True)
class Provider:
    """One place where a model can run.

    Attributes:
        name: What users write.
        title: What it is, in a few words.
        engine: The class that runs models there, as ``module:class``.
        options: Which options of ``open_runtime`` that class takes, by keyword.
        package: The Python module that the engine imports, None if it comes with kilnx.
        extra: The extra that installs the package.
        required_by: A function that raises ``RuntimeUnavailable`` if the engine cannot run here, as
            ``module:function``; it is given the provider's name. Without one, ``package`` must
            import.
        ort_name: What ONNX Runtime calls its execution provider.
    """

    name: str
    title: str
    engine: str
    options: tuple[str, ...] = ("threads",)
    package: str | None = None
    extra: str | None = None
    required_by: str | None = None
    ort_name: str | None = None

    def require(self) -> None:
        """Raise ``RuntimeUnavailable``, with what installs it, if the engine cannot run here."""
        if self.required_by is not None:
            _named(self.required_by)(self.name)
        elif self.package is not None and self.extra is not None:
            require_package(self.package, self.title, self.extra)

    def load(self) -> type[Any]:
        """The engine's class."""
        found: type[Any] = _named(self.engine)
        return found


def require_package(package: str, title: str, extra: str) -> Any:
    """Import ``package``, or raise ``RuntimeUnavailable`` with the command that installs it."""
    try:
        return import_module(package)
    except ImportError as error:
        raise RuntimeUnavailable(missing_extra(title, extra, str(error))) from error


def _named(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


def _ort(name: str, title: str, ort_name: str, extra: str) -> Provider:
    return Provider(
        name,
        title,
        "runtimes.engines.ort:OrtRuntime",
        _ORT_OPTIONS,
        "onnxruntime",
        extra,
        "runtimes.engines.providers:require_ort_provider",
        ort_name,
    )


def _packaged(name: str, title: str, engine: str, package: str, extra: str) -> Provider:
    return Provider(name, title, f"runtimes.engines.{engine}", package=package, extra=extra)


def _javascript(name: str, title: str, engine: str) -> Provider:
    return Provider(
        name,
        title,
        f"runtimes.engines.onnxruntime_js.runtime:{engine}",
        extra="web",
        required_by="runtimes.engines.onnxruntime_js.packages:require_onnxruntime_js",
    )


_ROWS = (
    _ort("cpu", "ONNX Runtime", "CPUExecutionProvider", "cpu"),
    _ort("cuda", "ONNX Runtime on NVIDIA GPUs", "CUDAExecutionProvider", "gpu"),
    _ort("tensorrt", "ONNX Runtime with TensorRT", "TensorrtExecutionProvider", "gpu"),
    _ort("ort-openvino", "ONNX Runtime with OpenVINO", "OpenVINOExecutionProvider", "ort-openvino"),
    Provider(
        "reference",
        "the ONNX reference evaluator",
        "runtimes.engines.reference:ReferenceRuntime",
        (),
    ),
    _packaged("openvino", "OpenVINO", "openvino:OpenVinoRuntime", "openvino", "openvino"),
    _packaged("opencv", "OpenCV", "opencv:OpenCvRuntime", "cv2", "opencv"),
    _packaged("opencv-classic", "OpenCV", "opencv:OpenCvClassicRuntime", "cv2", "opencv"),
    _packaged("tract", "tract", "tract:TractRuntime", "tract", "tract"),
    _javascript("onnxruntime-node", "ONNX Runtime for Node", "NodeRuntime"),
    _javascript("onnxruntime-web", "ONNX Runtime in WebAssembly", "WebRuntime"),
)

TABLE: Mapping[str, Provider] = {row.name: row for row in _ROWS}
"""All providers by name."""
