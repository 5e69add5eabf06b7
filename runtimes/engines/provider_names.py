"""What the places are called where a model can run."""

from __future__ import annotations

from runtimes.engines.provider_table import TABLE, Provider
from runtimes.errors import RuntimeUnavailable
from runtimes.suggestions import did_you_mean

PROVIDERS = {row.name: row.ort_name for row in TABLE.values() if row.ort_name is not None}
"""ONNX Runtime's providers, by the names that users write."""

WITH_OPERATORS = ("cpu", "cuda")
"""Those that run the graph's own operators; others compile parts of it into one node each."""

PROVIDER_NAMES = tuple(TABLE)


def refuse_unknown_provider(provider: str) -> None:
    """Raise ``RuntimeUnavailable`` for a name that is none."""
    find_provider(provider)


def find_provider(provider: str) -> Provider:
    """The provider's row of the table; raises ``RuntimeUnavailable`` for a name that is none."""
    if provider not in TABLE:
        raise RuntimeUnavailable(
            f"there is no provider {provider!r}{did_you_mean(provider, PROVIDER_NAMES)}; kilnx "
            f"runs models on: {', '.join(PROVIDER_NAMES)}"
        )
    return TABLE[provider]
