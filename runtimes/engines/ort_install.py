"""Check that exactly one ONNX Runtime distribution is installed."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module, metadata
from typing import Any

from runtimes.errors import RuntimeUnavailable
from runtimes.extras import missing_extra, pip_install


def is_installed(distribution: str) -> bool:
    """Whether a distribution with this name is installed in this environment."""
    try:
        metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def require_onnxruntime(installed: Callable[[str], bool] = is_installed) -> Any:
    """Import ONNX Runtime and return the module.

    The distributions ``onnxruntime`` and ``onnxruntime-gpu`` contain the same files, so if both are
    installed, the one installed last silently overwrites the other. Raises ``RuntimeUnavailable``,
    with the command that fixes it, if neither or both are installed, or if the module does not
    load. ``installed`` tells whether a distribution is installed.
    """
    cpu, gpu = installed("onnxruntime"), installed("onnxruntime-gpu")
    if cpu and gpu:
        raise RuntimeUnavailable(
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other; "
            "keep one: pip uninstall -y onnxruntime onnxruntime-gpu && "
            f"{pip_install('gpu')} (or, without an NVIDIA GPU, the extra 'cpu')"
        )
    if not cpu and not gpu:
        raise RuntimeUnavailable(
            f"{missing_extra('ONNX Runtime', 'cpu')} (for an NVIDIA GPU, the extra 'gpu')"
        )
    try:
        return import_module("onnxruntime")
    except ImportError as error:
        extra = "gpu" if gpu else "cpu"
        raise RuntimeUnavailable(
            f"ONNX Runtime is installed but does not load ({error}); reinstall it: "
            f"{pip_install(extra, '--force-reinstall')}"
        ) from error
