"""The graph as ONNX Runtime runs it on this machine: it can be cut without changing a bit."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager

import onnx_ir as ir

from runtimes.atomic_files import scratch_folder
from runtimes.cpu_info import cpu_info
from runtimes.engines.ort_install import require_onnxruntime
from runtimes.engines.ort_optimized import write_optimized
from runtimes.onnx_files.load_save import ModelSource, load_graph


@contextmanager
def optimized_graph(model: ModelSource, threads: int | None = 1) -> Iterator[ir.Model]:
    """``model`` as ONNX Runtime optimizes it here; its weights last as long as the block."""
    with scratch_folder() as folder:
        path = folder / "optimized.onnx"
        write_optimized(model, path, threads=threads)
        yield load_graph(path)


def machine_of_graph() -> str:
    """What an optimized graph depends on: the runtime's version and the processor."""
    info = cpu_info()
    flags = sorted(str(info.get("flags", "")).split())
    wide = [flag for flag in flags if flag.startswith(("avx", "amx"))]
    return f"onnxruntime {require_onnxruntime().__version__}, {platform.machine()} {' '.join(wide)}"
