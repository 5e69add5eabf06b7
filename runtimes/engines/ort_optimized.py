"""Writes the graph that ONNX Runtime makes of a model when it optimizes it."""

from __future__ import annotations

from pathlib import Path

from runtimes.engines.ort import OrtRuntime
from runtimes.engines.ort_session import Optimization
from runtimes.onnx_files.load_save import ModelSource


def write_optimized(
    model: ModelSource,
    path: Path,
    *,
    provider: str = "cpu",
    threads: int | None = None,
    optimization: Optimization = "all",
    external_from: int = 1024,
) -> None:
    """Write ``model`` to ``path`` as a session on ``provider`` optimizes it, to that level.

    Weights are as in the graph, not packed for a kernel; those of ``external_from`` bytes and more
    stand in a file next to it. Raises what ``OrtRuntime`` raises.
    """
    config = {
        "session.optimized_model_external_initializers_file_name": f"{path.stem}.data",
        "session.optimized_model_external_initializers_min_size_in_bytes": str(external_from),
        "session.disable_prepacking": "1",
    }
    OrtRuntime(
        model,
        provider=provider,
        threads=threads,
        optimization=optimization,
        optimized_model_path=path,
        config=config,
        arena=False,
    ).close()
