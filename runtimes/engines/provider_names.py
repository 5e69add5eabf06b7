"""What the places are called where a model can run."""

from __future__ import annotations

import difflib

from runtimes.errors import RuntimeUnavailable

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
"""ONNX Runtime's providers, by the names that users write."""

PROVIDER_NAMES = (*PROVIDERS, "reference", "openvino")


def refuse_unknown_provider(provider: str) -> None:
    """Raise ``RuntimeUnavailable`` for a name that is none."""
    if provider in PROVIDER_NAMES:
        return
    near = difflib.get_close_matches(provider.lower(), PROVIDER_NAMES, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise RuntimeUnavailable(
        f"there is no provider {provider!r}{hint}; kilnx runs models on: "
        f"{', '.join(PROVIDER_NAMES)}"
    )
