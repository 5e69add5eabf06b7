"""What an earlier run decided, so that it is decided the same way again."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from converter.pruning.report import Schooling
from runtimes.errors import DataError

DecisionSource = str | os.PathLike[str] | Mapping[str, Any]
"""A report as a JSON file or as its dictionary, or a mapping of steps to whether they are kept."""

_NOT_A_REPORT = (
    "the decisions are not a report of kilnx: give the report.json of compress, or what prune or "
    "quantize printed with --json"
)


@dataclass(frozen=True)
class Decisions:
    """Decisions by step.

    Attributes:
        kept: Which steps were kept.
        precisions: Precision of every operator by node name; None where nothing says.
        plan: How many channels of each group stay; None where nothing says.
        schooling: How what the plan leaves was trained; None: not at all.
        rounding_steps: For how many steps what was quantized was trained; None: not at all.
        storage: In which form each weight is stored, by initializer; None where nothing says.
        target: The target that it was decided for; None where nothing says.
    """

    kept: Mapping[str, bool] = field(default_factory=dict)
    precisions: Mapping[str, str] | None = None
    plan: Mapping[str, int] | None = None
    schooling: Schooling | None = None
    rounding_steps: int | None = None
    storage: Mapping[str, str] | None = None
    target: str | None = None

    @property
    def trains(self) -> bool:
        """Whether something was trained."""
        return self.schooling is not None or self.rounding_steps is not None

    @classmethod
    def open(cls, source: DecisionSource) -> Decisions:
        """Read the decisions out of ``source``; raises ``DataError`` for anything else."""
        document = source if isinstance(source, Mapping) else _read(source)
        try:
            target = _target(document)
            if "steps" in document:
                return replace(cls._of_compress(document["steps"]), target=target)
            if "operators" in document:
                kept = {"quantize": bool(document.get("kept", True))}
                return cls(kept, precisions=_precisions(document["operators"]), target=target)
            if "plan" in document:
                kept = {"prune": bool(document.get("kept", True))}
                schooling = _schooling(document.get("training"))
                return cls(kept, plan=_plan(document["plan"]), schooling=schooling, target=target)
            if all(isinstance(one, bool) for one in document.values()):
                return cls(dict(document))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(_NOT_A_REPORT) from error
        raise DataError(_NOT_A_REPORT)

    @classmethod
    def _of_compress(cls, steps: Any) -> Decisions:
        details = {step["name"]: step.get("details") or {} for step in steps}
        pruned = details.get("prune", {})
        plan = pruned.get("plan")
        quantized = details.get("quantize", {})
        trained = quantized.get("training")
        stored = details.get("weights", {}).get("weights")
        return cls(
            {str(step["name"]): bool(step["kept"]) for step in steps},
            _precisions(quantized.get("operators", [])),
            None if plan is None else _plan(plan),
            _schooling(pruned.get("training")),
            None if trained is None else int(trained["asked"]),
            None if stored is None else {str(one["name"]): str(one["form"]) for one in stored},
        )


def _target(document: Mapping[str, Any]) -> str | None:
    found = document.get("target")
    return None if found is None or isinstance(found, bool) else str(found)


def _precisions(operators: Any) -> dict[str, str]:
    return {str(one["name"]): str(one["precision"]) for one in operators}


def _plan(groups: Any) -> dict[str, int]:
    return {str(name): int(stays) for name, stays in groups.items()}


def _schooling(training: Any) -> Schooling | None:
    if training is None:
        return None
    rounds = training.get("rounds") or [training["asked"]]
    return Schooling(tuple(int(one) for one in rounds), bool(training["refitted"]))


def _read(path: str | os.PathLike[str]) -> Mapping[str, Any]:
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not a report: {error}") from error
    if not isinstance(document, Mapping):
        raise DataError(f"{path} is not a report of kilnx, which is a JSON object")
    return document
