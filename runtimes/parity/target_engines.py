"""Does an engine of the target compute what ONNX Runtime computes, before anything is decided?

Engines are wrong in silence on some models: what they make of the float model is no basis for any
proof of what was made of it.
"""

from __future__ import annotations

from typing import Any

from runtimes.engines.of_target import judging_providers
from runtimes.engines.provider_names import find_provider
from runtimes.errors import KilnxError, ModelError, RuntimeUnavailable
from runtimes.parity.budget import Budget
from runtimes.parity.check import check
from runtimes.targets import Target

# Float engines are beyond 80 dB from each other where both are right, and those that were found
# wrong were below 20.
_SAME = Budget(min_sqnr=40.0, min_agreement=0.97, stress="none")

_JUDGED_HERE = "cpu"

_WAY_OUT = "choose another --target, or change the layer that it fails on"


def refuse_wrong_engines(
    model: Any,
    data: Any,
    target: Target,
    *,
    threads: int = 1,
    error: type[KilnxError] = ModelError,
) -> None:
    """Raise ``error`` where an engine that judges refuses ``model``, or computes something else.

    ``data``: what ``Dataset.open`` takes, a few samples. What judges is ONNX Runtime.
    """
    for provider in judging_providers(target):
        if provider == _JUDGED_HERE:
            continue
        title = find_provider(provider).title
        try:
            found = check(model, model, data, budget=_SAME, providers=(provider,), threads=threads)
        except RuntimeUnavailable:
            raise
        except KilnxError as cause:
            raise error(f"{title} does not run the model: {cause}; {_WAY_OUT}") from cause
        if not found.passed:
            raise error(
                f"{title} computes something else than ONNX Runtime from the same float model: "
                f"{found.reason}; {_WAY_OUT}"
            )
