"""The target of a command: chosen or replayed, its reasons why a step is left out, its engines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from converter.compression.decisions import Decisions
from converter.passes.target_form import fit_to_target
from quantizers.options import Prefer
from runtimes.data.dataset import Dataset
from runtimes.engines.of_target import chosen_target, judging_providers, notes_of
from runtimes.errors import DataError
from runtimes.parity.target_engines import refuse_wrong_engines
from runtimes.targets import Target, find_target

# Whether an engine computes the float model at all shows on a few samples.
_SAMPLES = 16


@dataclass(frozen=True)
class Shipped:
    """Where ``compress`` measures and judges, and the steps that the target cannot take."""

    target: Target
    provider: str
    judged_in: tuple[str, ...]
    left_out: Mapping[str, str]

    @classmethod
    def of(
        cls,
        target: Target | str | None,
        decisions: Decisions | None,
        *,
        provider: str,
        steps: Sequence[str],
    ) -> Shipped:
        """By the target that was asked for or decided for, or by the ``provider`` alone."""
        target = open_target(target, decisions, provider=provider)
        if target.is_default:
            return cls(target, provider, (provider,), {})
        left_out = steps_left_out(steps, target)
        return cls(target, target.clock, judging_providers(target), left_out)


def open_target(
    target: Target | str | None, decisions: Decisions | None = None, *, provider: str = "cpu"
) -> Target:
    """The target that was asked for, or else the one of ``decisions``; its engines are there.

    Raises ``DataError`` for an unknown name, for another target than the one decided for, and for
    a ``provider`` beside a target, and ``RuntimeUnavailable`` where its engine is not installed.
    """
    decided = None if decisions is None else decisions.target
    if target is not None and decided is not None and find_target(target).name != decided:
        raise DataError(
            f"the decisions are for the target {decided!r}, not for "
            f"{find_target(target).name!r}; leave --target out, or decide anew"
        )
    return chosen_target(decided if target is None else target, providers=(provider,))


def fitted(model: ir.Model, target: Target, *, int8: bool) -> ir.Model:
    """``model`` in the form that ``target`` reads; ``ModelError`` names what it does not run."""
    return fit_to_target(model, target, int8=int8 and target.int8 is not None)


def refuse_wrong(model: ir.Model, data: Dataset, target: Target, threads: int) -> tuple[str, ...]:
    """Raise where an engine of ``target`` is wrong on ``model``; what the user should know."""
    if target.is_default:
        return ()
    samples = data.without_labels().take(_SAMPLES)
    refuse_wrong_engines(model, samples, target, threads=threads)
    return notes_of(target)


def preferred(prefer: Prefer, target: Target) -> Prefer:
    """What counts on ``target``: size alone, where no clock tells how fast INT8 is there."""
    return prefer if target.timed else "size"


def steps_left_out(steps: Sequence[str], target: Target) -> dict[str, str]:
    """Which of ``steps`` the target cannot take, and why."""
    reasons = {
        "quantize": "" if target.int8 is not None else target.no_int8,
        "weights": "" if target.few_bits else target.no_few_bits,
    }
    return {step: reasons[step] for step in steps if reasons.get(step)}
