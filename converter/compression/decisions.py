"""What an earlier run decided by timing, to be decided the same way again."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runtimes.errors import DataError

_STEP = "quantize"


def load_precisions(source: str | os.PathLike[str] | Mapping[str, Any]) -> dict[str, str]:
    """Precision of every operator by node name, out of a report.

    ``source``: a report of ``quantize`` or the ``report.json`` of ``compress``, as a file or as
    the dictionary in it. Empty where ``compress`` did not quantize. Raises ``DataError`` for
    anything else.
    """
    document = source if isinstance(source, Mapping) else _read(source)
    try:
        if "steps" in document:
            steps = [step for step in document["steps"] if step["name"] == _STEP]
            operators = steps[0]["details"].get("operators", []) if steps else []
        else:
            operators = document["operators"]
        return {str(one["name"]): str(one["precision"]) for one in operators}
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            "the decisions are not a report of kilnx: give the JSON that quantize printed, or "
            "the report.json of compress"
        ) from error


def was_kept(source: str | os.PathLike[str] | Mapping[str, Any]) -> bool:
    """Whether the report of ``quantize`` in ``source`` kept the INT8 model."""
    document = source if isinstance(source, Mapping) else _read(source)
    if "steps" in document:
        return any(step["name"] == _STEP and step["kept"] for step in document["steps"])
    return bool(document.get("kept", True))


def _read(path: str | os.PathLike[str]) -> Mapping[str, Any]:
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise DataError(f"{path} is not a report: {error}") from error
    if not isinstance(document, Mapping):
        raise DataError(f"{path} is not a report of kilnx, which is a JSON object")
    return document
