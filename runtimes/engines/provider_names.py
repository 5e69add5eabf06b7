"""What the places are called where a model can run."""

from __future__ import annotations

from runtimes.errors import RuntimeUnavailable
from runtimes.suggestions import did_you_mean

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
"""ONNX Runtime's providers, by the names that users write."""

PROVIDER_NAMES = (*PROVIDERS, "reference", "openvino")


def refuse_unknown_provider(provider: str) -> None:
    """Raise ``RuntimeUnavailable`` for a name that is none."""
    if provider in PROVIDER_NAMES:
        return
    raise RuntimeUnavailable(
        f"there is no provider {provider!r}{did_you_mean(provider, PROVIDER_NAMES)}; kilnx runs "
        f"models on: {', '.join(PROVIDER_NAMES)}"
    )
