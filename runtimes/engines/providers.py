"""Whether a model can run where it should, asked before any model is loaded."""

from __future__ import annotations

from collections.abc import Iterable

from runtimes.engines.ort_install import require_onnxruntime
from runtimes.engines.ort_session import require_provider
from runtimes.engines.provider_names import PROVIDERS, refuse_unknown_provider


def require_providers(providers: Iterable[str]) -> None:
    """Raise ``RuntimeUnavailable`` for the first that is unknown, or that ONNX Runtime lacks.

    Whether OpenVINO is installed is said where it opens a model.
    """
    for provider in providers:
        refuse_unknown_provider(provider)
        if provider in PROVIDERS:
            require_provider(provider, require_onnxruntime().get_available_providers())
