"""What several trials together say of one of them.

Few samples judge, and many plans: the one that passes at the very limit is likely to be one that
had luck, and loses more on other samples. Two things are known besides its loss. First, how far
each trained student is from its teacher on samples that were held out of training. That is measured
without labels and hardly varies by chance; and while the error is small, the loss grows in
proportion to it: near the border between two classes a teacher is as often wrong as right, so what
is lost there and what is gained cancel out but for what goes with the square of the error. One
factor, found from all trials on the same samples, therefore tells the loss of each about as well as
its own few answers do, and the mean of both tells it better. Second, the standard error of its
loss, by which it has to stay inside the budget (the one-standard-error rule, Breiman et al.,
Classification and Regression Trees, 1984).
"""

from __future__ import annotations

from collections.abc import Sequence

from converter.pruning.trials import Trial

# Where samples are so few that one standard error is most of the budget, so much of it is enough:
# what is taken is trained further, after it was chosen.
_MOST_MARGIN = 0.15
# How fast students of larger errors count less: of large errors the loss is not in proportion.
_FADING = 4


def spent(trial: Trial, trials: Sequence[Trial]) -> float | None:
    """About how much of the budget ``trial`` takes, judged by all ``trials`` that are like it.

    None where its judge does not tell.
    """
    own, training = trial.judged, trial.training
    if own.spent is None or not own.deviation or training is None:
        return own.spent
    products, squares = 0.0, 0.0
    for one in trials:
        error, found = one.training.after if one.training else 0.0, one.judged
        if not error or not found.deviation or found.spent is None:
            continue
        weight = min(1.0, training.after / error) ** _FADING / found.deviation**2
        products += weight * error * found.spent
        squares += weight * error**2
    if not squares:
        return own.spent
    return (own.spent + max(0.0, products / squares * training.after)) / 2


def accepted(trial: Trial, trials: Sequence[Trial]) -> bool:
    """Whether ``trial`` passes, and is likely to on other samples."""
    found = spent(trial, trials)
    if not trial.judged.passed or found is None:
        return trial.judged.passed
    return found + min(trial.judged.deviation, _MOST_MARGIN) <= 1 + 1e-9
