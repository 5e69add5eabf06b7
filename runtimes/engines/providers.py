"""Whether a model can run where it should, asked before any model is loaded."""

from __future__ import annotations

from collections.abc import Iterable

from runtimes.engines.ort_install import require_onnxruntime
from runtimes.engines.ort_session import require_provider
from runtimes.engines.provider_names import find_provider
from runtimes.engines.provider_table import TABLE
from runtimes.errors import RuntimeUnavailable


def require_providers(providers: Iterable[str]) -> None:
    """Raise ``RuntimeUnavailable`` for the first that is unknown, or that is not installed."""
    for provider in providers:
        find_provider(provider).require()


def require_ort_provider(provider: str) -> None:
    """Raise ``RuntimeUnavailable`` unless the installed ONNX Runtime has this provider."""
    require_provider(provider, require_onnxruntime().get_available_providers())


def installed_providers() -> tuple[str, ...]:
    """The providers that can run on this machine, in the order of the table."""
    return tuple(name for name in TABLE if is_available(name))


def is_available(provider: str) -> bool:
    """Whether models can run on ``provider`` here; raises ``RuntimeUnavailable`` if unknown."""
    row = find_provider(provider)
    try:
        row.require()
    except RuntimeUnavailable:
        return False
    return True
