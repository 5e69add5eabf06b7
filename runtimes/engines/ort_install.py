"""That exactly one ONNX Runtime is installed."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module, metadata
from typing import Any

from runtimes.errors import RuntimeUnavailable
from runtimes.extras import missing_extra, pip_install


def is_installed(distribution: str) -> bool:
    """Whether a distribution of that name is installed in this environment."""
    try:
        metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def require_onnxruntime(installed: Callable[[str], bool] = is_installed) -> Any:
    """Import ONNX Runtime and give the module back.

    The distributions ``onnxruntime`` and ``onnxruntime-gpu`` hold the same files, so with both
    installed the one written last wins, silently. Raises ``RuntimeUnavailable`` with the command
    that mends it when neither or both are installed, or when the module does not load.
    ``installed`` tells whether a distribution is there.
    """
    cpu, gpu = installed("onnxruntime"), installed("onnxruntime-gpu")
    if cpu and gpu:
        raise RuntimeUnavailable(
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other; "
            "keep one: pip uninstall -y onnxruntime onnxruntime-gpu && "
            f"{pip_install('gpu')} (or the extra 'cpu')"
        )
    if not cpu and not gpu:
        raise RuntimeUnavailable(
            f"{missing_extra('ONNX Runtime', 'cpu')} (for an NVIDIA GPU the extra 'gpu')"
        )
    try:
        return import_module("onnxruntime")
    except ImportError as error:
        extra = "gpu" if gpu else "cpu"
        raise RuntimeUnavailable(
            f"ONNX Runtime is installed but does not load ({error}); reinstall it: "
            f"{pip_install(extra, '--force-reinstall')}"
        ) from error
