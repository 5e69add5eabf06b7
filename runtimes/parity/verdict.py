"""When is a candidate still the same model? One rule decides, and says with which numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from runtimes.parity.output_error import OutputParity
from runtimes.parity.tolerance import NOISE_MULTIPLE, noise_tolerance, relative_tolerance

DEFAULT_MAX_DROP = 0.01
DEFAULT_AGREEMENT = 0.99
DEFAULT_SQNR_DB = 20.0

PASSED, FAILED, UNSURE = "passed", "failed", "not enough samples to tell"
"""The three verdicts on a budget."""


# Half the width of a 95% interval of a normal distribution, in standard errors.
_TWO_SIDED = 1.96


@dataclass(frozen=True)
class MetricParity:
    """A labelled metric of both models; ``drop`` is how much worse the candidate is.

    ``low`` … ``high`` is the 95% confidence interval of the drop, paired, found by ``method``;
    ``p_value`` McNemar's, for accuracies. None where there is none. ``needed``: about how many
    samples would tell whether the drop is within what is allowed, None where ``samples`` do.
    ``output`` is the output that it judges; None: all of them. ``higher_is_better``: of the metric.
    """

    name: str
    provider: str
    reference: float
    candidate: float
    drop: float
    samples: int = 0
    low: float | None = None
    high: float | None = None
    method: str | None = None
    p_value: float | None = None
    needed: int | None = None
    output: str | None = None
    higher_is_better: bool = True

    @property
    def deviation(self) -> float | None:
        """The standard error of the drop, by its interval."""
        if self.low is None or self.high is None:
            return None
        return (self.high - self.low) / (2 * _TWO_SIDED)


@dataclass(frozen=True)
class Rules:
    """What the user asked for; None: not asked for.

    ``strict``: a drop passes only if its whole interval is within what is allowed. ``drops``: what
    is allowed of some metrics, by name, in place of ``max_drop``.
    """

    max_drop: float | None = None
    rtol: float | None = None
    atol: float | None = None
    min_agreement: float | None = None
    min_sqnr: float | None = None
    strict: bool = False
    drops: tuple[tuple[str, float], ...] = ()

    def allowed(self, metric: str) -> float | None:
        """The acceptable drop of a metric."""
        return dict(self.drops).get(metric, self.max_drop)


def float_tolerance(output: OutputParity) -> float:
    """The largest absolute error that a float candidate may have.

    ``NOISE_MULTIPLE`` times the reference's own rounding error where that was measured: both
    models round, in another order, and what amplifies the one's rounding amplifies the other's.
    Else 1e-4 of the reference's largest magnitude.
    """
    if output.noise is not None:
        return noise_tolerance(output.noise)
    return relative_tolerance(output.reference_peak)


def float_rule_applies(rules: Rules, *, labelled: bool, quantized: bool) -> bool:
    """Whether ``judge`` would come to ``float_tolerance``; ``labelled``: there is a metric."""
    return not (
        quantized
        or (rules.max_drop is not None and labelled)
        or any(one is not None for one in (rules.rtol, rules.atol))
        or any(one is not None for one in (rules.min_agreement, rules.min_sqnr))
    )


def judge(
    outputs: Sequence[OutputParity],
    metrics: Sequence[MetricParity],
    rules: Rules,
    *,
    quantized: bool,
) -> tuple[bool, str]:
    """Whether the candidate passes, and the reason, numbers included.

    The first rule that applies: what cannot be compared fails; ``max_drop``, and floors for the
    outputs that no metric judges; ``rtol`` and ``atol``; ``min_agreement`` and ``min_sqnr``; else
    the default for a quantized or a float candidate.
    """
    problems = [
        f"{_place(output, outputs)}: {output.problem}" for output in outputs if output.problem
    ]
    if problems:
        return False, "; ".join(problems)
    if rules.max_drop is not None and metrics:
        drops = [_judge_drop(metric, rules) for metric in metrics]
        return _all([*drops, *_judge_unlabelled(outputs, metrics, rules)])
    if rules.rtol is not None or rules.atol is not None:
        return _all(_judge_tolerance(output, outputs, rules) for output in outputs)
    if rules.min_agreement is not None or rules.min_sqnr is not None:
        return _all(_judge_all_floors(outputs, outputs, rules.min_agreement, rules.min_sqnr))
    if quantized:
        return _all(_judge_all_floors(outputs, outputs, DEFAULT_AGREEMENT, DEFAULT_SQNR_DB))
    return _all(_judge_float(output, outputs) for output in outputs)


def too_few_samples(outputs: Sequence[OutputParity], rules: Rules, samples: int) -> str | None:
    """Said where a floor of agreement fails that so few ``samples`` can only pass without a flaw.

    Of fifty samples one answer that differs is 2%: a floor of 99% then means all of them.
    """
    floor = DEFAULT_AGREEMENT if rules.min_agreement is None else rules.min_agreement
    if not 0 < floor < 1 or samples * (1 - floor) >= 1 - 1e-9:
        return None
    missed = [one.agreement for one in that_agree(outputs) if one.agreement is not None]
    differing = [(1 - one) * samples for one in missed if one < floor]
    if not any(abs(one - 1) < 1e-6 for one in differing):
        return None
    enough = math.ceil(1 / (1 - floor) - 1e-9)
    return (
        f"1 of {samples} answers differs, and {samples} samples are too few for a floor of "
        f"{floor:.2%}, which allows one from {enough} on"
    )


def unlabelled(outputs: Sequence[str], judged: Sequence[str | None]) -> tuple[str, ...]:
    """Those of ``outputs`` that no metric judges; ``judged``: the ``output`` of each metric."""
    return () if None in judged else tuple(name for name in outputs if name not in judged)


def _judge_unlabelled(
    outputs: Sequence[OutputParity], metrics: Sequence[MetricParity], rules: Rules
) -> list[tuple[bool, str]]:
    """Labels of one output say nothing of the others, which may not be lost for that."""
    names = unlabelled([one.output for one in outputs], [one.output for one in metrics])
    return _judge_all_floors(
        [one for one in outputs if one.output in names],
        outputs,
        DEFAULT_AGREEMENT if rules.min_agreement is None else rules.min_agreement,
        DEFAULT_SQNR_DB if rules.min_sqnr is None else rules.min_sqnr,
    )


def _judge_all_floors(
    judged: Sequence[OutputParity],
    outputs: Sequence[OutputParity],
    min_agreement: float | None,
    min_sqnr: float | None,
) -> list[tuple[bool, str]]:
    """Floors, of agreement only where an output may be of classes.

    A distribution or detections say so; without any among ``outputs``, any may be logits.
    """
    counting = that_agree(outputs)
    return [
        _judge_floors(output, outputs, min_agreement if output in counting else None, min_sqnr)
        for output in judged
    ]


def that_agree(outputs: Sequence[OutputParity]) -> tuple[OutputParity, ...]:
    """Those of ``outputs`` whose agreement counts.

    Distributions and detections hold answers, and so does what has no noise; without any of the
    first two, any output may be logits.
    """
    known = any(one.distribution or one.kind == "detections" for one in outputs)
    return tuple(
        one
        for one in outputs
        if one.distribution or one.kind == "detections" or not known or one.sqnr_db is None
    )


def is_unsure(metric: MetricParity, allowed: float) -> bool:
    """Whether the truth may lie on either side of what is allowed: its interval holds both.

    Where there is no interval nothing says how sure the drop is, which is no certainty either.
    """
    if metric.low is None or metric.high is None:
        return True
    return metric.low <= allowed < metric.high


def _judge_drop(metric: MetricParity, rules: Rules) -> tuple[bool, str]:
    allowed = rules.allowed(metric.name)
    assert allowed is not None
    # A hair above, because 0.978 - 0.968 is 0.010000000000000009.
    passed = metric.drop <= allowed + 1e-9
    if rules.strict:
        passed = metric.high is not None and metric.high <= allowed + 1e-9
    reason = (
        f"{metric.name} {metric.reference:.4f} → {metric.candidate:.4f}, {_change(metric, allowed)}"
    )
    if metric.low is not None and metric.high is not None:
        reason += f" (95% interval {metric.low:.4f} to {metric.high:.4f}"
        if is_unsure(metric, allowed):
            reason += f": {metric.samples} samples are not enough to tell"
            reason += f", about {metric.needed} would do" if metric.needed else ""
        reason += ")"
    elif metric.samples:
        plural = "s are" if metric.samples != 1 else " is"
        reason += f" ({metric.samples} sample{plural} not enough to tell)"
    return passed, reason


def _change(metric: MetricParity, allowed: float) -> str:
    """How much worse, next to what is allowed, in as many digits as tell them apart; or better."""
    if metric.drop < -5e-5:
        return f"better by {-metric.drop:.4f} ({allowed:g} worse is allowed)"
    inside = metric.drop <= allowed + 1e-9
    word = "drop" if metric.higher_is_better else "rise"
    shown = f"{abs(metric.drop):.4f}"
    if (float(shown) <= allowed) != inside:
        shown = f"{abs(metric.drop):.6g}"
    return f"{word} {shown} {'≤' if inside else '>'} {allowed:g} allowed"


def _judge_tolerance(
    output: OutputParity, outputs: Sequence[OutputParity], rules: Rules
) -> tuple[bool, str]:
    limits = f"atol {rules.atol or 0:g} + rtol {rules.rtol or 0:g} · |reference|"
    if output.outside:
        return False, (
            f"{_place(output, outputs)}: {output.outside} of {output.elements} elements beyond "
            f"{limits} (largest error {output.max_abs_error:.3g}, sample {output.worst_sample})"
        )
    if output.elements == 0:
        return _judge_exact(output, outputs)
    return True, f"{_place(output, outputs)}: all {output.elements} elements within {limits}"


def _judge_floors(
    output: OutputParity,
    outputs: Sequence[OutputParity],
    min_agreement: float | None,
    min_sqnr: float | None,
) -> tuple[bool, str]:
    passed, parts = True, []
    if min_agreement is not None and output.agreement is not None:
        enough = output.agreement >= min_agreement
        passed = passed and enough
        what = "detections found again" if output.kind == "detections" else "agreement"
        parts.append(f"{what} {output.agreement:.2%} {'≥' if enough else '<'} {min_agreement:.2%}")
    if min_sqnr is not None and output.sqnr_db is not None:
        enough = output.sqnr_db >= min_sqnr
        passed = passed and enough
        parts.append(f"SQNR {output.sqnr_db:.1f} dB {'≥' if enough else '<'} {min_sqnr:g} dB")
    if not parts:
        return _judge_float(output, outputs)
    if output.neighbours is not None:
        cosine, same = output.neighbours
        parts.append(f"cosine {cosine:.4f}, nearest neighbour the same for {same:.1%}")
    return passed, f"{_place(output, outputs)}: {', '.join(parts)}"


def _judge_float(output: OutputParity, outputs: Sequence[OutputParity]) -> tuple[bool, str]:
    if output.sqnr_db is None:
        return _judge_exact(output, outputs)
    tolerance = float_tolerance(output)
    passed = output.max_abs_error <= tolerance
    found = f"{_place(output, outputs)}: largest error {output.max_abs_error:.3g}"
    if output.noise is None:
        reason = f"{found} {'≤' if passed else '>'} {tolerance:.3g} (1e-4 of the reference's peak)"
    else:
        times = output.max_abs_error / output.noise if output.noise else math.inf
        if output.max_abs_error == 0:
            times = 0.0
        reason = (
            f"{found} is {times:.3g}× the reference's own rounding error {output.noise:.3g} "
            f"({output.noise_method}), {'within' if passed else 'beyond'} {NOISE_MULTIPLE:g}×"
        )
    return passed, reason if passed else f"{reason}, sample {output.worst_sample}"


def _judge_exact(output: OutputParity, outputs: Sequence[OutputParity]) -> tuple[bool, str]:
    agreement = math.nan if output.agreement is None else output.agreement
    passed = agreement == 1
    what = "detections are found again" if output.kind == "detections" else "values are equal"
    return passed, f"{_place(output, outputs)}: {agreement:.2%} of the {what}"


def _all(judged: object) -> tuple[bool, str]:
    """All of them must pass; the reason is what failed, or else everything."""
    results: list[tuple[bool, str]] = list(judged)  # type: ignore[call-overload]
    failed = [reason for passed, reason in results if not passed]
    return not failed, "; ".join(failed or [reason for _, reason in results])


def _place(output: OutputParity, outputs: Sequence[OutputParity]) -> str:
    if len({other.provider for other in outputs}) > 1:
        return f"{output.output} on {output.provider}"
    return output.output
