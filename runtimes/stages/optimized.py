"""The graph as ONNX Runtime runs it on this machine: it can be cut without changing a bit."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager

import onnx_ir as ir

from runtimes.atomic_files import scratch_folder
from runtimes.cpu_info import cpu_info
from runtimes.engines.ort import OrtRuntime
from runtimes.engines.ort_install import require_onnxruntime
from runtimes.onnx_files.load_save import ModelSource, load_graph

_CONFIG = {
    "session.optimized_model_external_initializers_file_name": "optimized.data",
    "session.optimized_model_external_initializers_min_size_in_bytes": "1024",
    "session.disable_prepacking": "1",
}


@contextmanager
def optimized_graph(model: ModelSource, threads: int | None = 1) -> Iterator[ir.Model]:
    """``model`` as ONNX Runtime optimizes it here; its weights last as long as the block."""
    with scratch_folder() as folder:
        path = folder / "optimized.onnx"
        OrtRuntime(
            model, threads=threads, optimized_model_path=path, config=_CONFIG, arena=False
        ).close()
        yield load_graph(path)


def machine_of_graph() -> str:
    """What an optimized graph depends on: the runtime's version and the processor."""
    info = cpu_info()
    flags = sorted(str(info.get("flags", "")).split())
    wide = [flag for flag in flags if flag.startswith(("avx", "amx"))]
    return f"onnxruntime {require_onnxruntime().__version__}, {platform.machine()} {' '.join(wide)}"
