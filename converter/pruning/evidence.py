"""What several trials together say of one of them.

Few samples judge, and many plans: the one that passes at the very limit is likely to be one that
had luck, and loses more on other samples. Two things are known beside its own loss. First, how far
each trained student is from its teacher on samples that were held out of training. That is measured
without labels and hardly varies by chance; and while the error is small, the loss grows in
proportion to it: near the border between two classes a teacher is as often wrong as right, so what
is lost there and what is gained cancel out but for what goes with the square of the error. One
factor, found from all trials on the same samples, therefore tells the loss of each better than its
own few answers do. Second, the standard error of its loss, by which it has to stay inside the
budget (the one-standard-error rule, Breiman et al., Classification and Regression Trees, 1984).
"""

from __future__ import annotations

from collections.abc import Sequence

from converter.pruning.trials import Trial

# Errors of more than this times a student's own say nothing of it: what is lost is no longer in
# proportion.
_COMPARABLE = 1.6
# Where samples are so few that one standard error is most of the budget, a quarter of it is enough:
# what is taken is trained further, after it was chosen.
_MOST_MARGIN = 0.25


def spent(trial: Trial, trials: Sequence[Trial]) -> float | None:
    """About how much of the budget ``trial`` takes, judged by all ``trials`` that are like it.

    None where its judge does not tell.
    """
    own = trial.judged
    if own.spent is None or not own.deviation or trial.training is None:
        return own.spent
    products, squares = 0.0, 0.0
    for error, found, deviation in _like(trial, trials):
        products += error * found / deviation**2
        squares += error**2 / deviation**2
    return max(0.0, products / squares * trial.training.after) if squares else own.spent


def accepted(trial: Trial, trials: Sequence[Trial]) -> bool:
    """Whether ``trial`` passes, and is likely to on other samples."""
    found = spent(trial, trials)
    if not trial.judged.passed or found is None:
        return trial.judged.passed
    return found + min(trial.judged.deviation, _MOST_MARGIN) <= 1 + 1e-9


def _like(trial: Trial, trials: Sequence[Trial]) -> list[tuple[float, float, float]]:
    """Error, share of the budget and its standard error of trained students that are no worse."""
    assert trial.training is not None
    most = _COMPARABLE * trial.training.after
    return [
        (one.training.after, one.judged.spent, one.judged.deviation)
        for one in trials
        if one.training is not None
        and one.judged.spent is not None
        and one.judged.deviation
        and one.training.after <= most
    ]
