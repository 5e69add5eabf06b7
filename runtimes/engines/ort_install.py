"""Check that exactly one distribution of ONNX Runtime is installed."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module, metadata
from typing import Any

from runtimes.errors import RuntimeUnavailable
from runtimes.extras import missing_extra, pip_install

_EXTRAS = {
    "onnxruntime": "cpu",
    "onnxruntime-openvino": "ort-openvino",
    "onnxruntime-gpu": "gpu",
}
"""The extra that installs each distribution."""


def is_installed(distribution: str) -> bool:
    """Whether a distribution with this name is installed in this environment."""
    try:
        metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def require_onnxruntime(installed: Callable[[str], bool] = is_installed) -> Any:
    """Import ONNX Runtime and return the module; what was found right is not looked at again.

    Its distributions contain the same files, so if several are installed, the one installed last
    silently overwrites the others. Raises ``RuntimeUnavailable``, with the command that fixes it,
    if none or several are installed, or if the module does not load. ``installed`` tells whether a
    distribution is installed.
    """
    return _found_right(installed)


@cache  # of what raises, nothing is kept: the user may install it meanwhile
def _found_right(installed: Callable[[str], bool]) -> Any:
    found = [name for name in _EXTRAS if installed(name)]
    if len(found) > 1:
        raise RuntimeUnavailable(
            f"{' and '.join(found)} are {'both' if len(found) == 2 else 'all'} installed and "
            f"overwrite each other; keep one: pip uninstall -y {' '.join(found)} && "
            f"{pip_install(_EXTRAS[found[-1]])} (or, without an NVIDIA GPU, the extra 'cpu')"
        )
    if not found:
        raise RuntimeUnavailable(
            f"{missing_extra('ONNX Runtime', 'cpu')} (for an NVIDIA GPU, the extra 'gpu')"
        )
    try:
        return import_module("onnxruntime")
    except ImportError as error:
        raise RuntimeUnavailable(
            f"ONNX Runtime is installed but does not load ({error}); reinstall it: "
            f"{pip_install(_EXTRAS[found[0]], '--force-reinstall')}"
        ) from error
