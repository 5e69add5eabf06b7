"""Is more of a metric better? Told by an attribute, scikit-learn's and Keras' objects, or names."""

from __future__ import annotations

import re
from typing import Any

from runtimes.errors import DataError


def words(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


_LOWER = words(
    "bias brier cer cost crossentropy deviance discrepancy dist distance div divergence drop eer "
    "entropy epe err error errors fid fnr fpr hinge huber kl kld kullback leibler logcosh loss "
    "losses mae mape mase mdape medae mer mpe mse msle nll nrmse perplexity pinball poisson "
    "residual rmse rmsle smape wape wer"
)
_HIGHER = words(
    "acc accuracy agreement ap auc auprc auroc balanced bleu chrf coefficient concordance corr "
    "correct correlation cosine d2 dcg dice explained f1 f2 fbeta fscore gini hit hits "
    "informedness iou jaccard kappa map map50 matthews mcc miou mrr ndcg npv overlap pearson "
    "pearsonr ppv pr precision psnr r2 r2score recall roc rouge score sensitivity similarity "
    "spearman spearmanr specificity ssim success tnr top topk tpr variance youden"
)
# Of what is written in one word (MeanIoU), the end; not where answer would end in wer.
_SHORT = {word for word in _LOWER | _HIGHER if len(word) < 4} - {"iou"}
_NEGATED = {"neg", "negative", "minus"}


def higher_is_better(name: str, function: Any) -> bool:
    """Whether more of the metric ``name`` (``package.module:function``) is better.

    The attribute ``higher_is_better`` says so; else what scikit-learn's scorers and Keras' metrics
    and losses know of themselves; else the last word of the name that means something, such as
    ``rmse`` or ``score``. Raises ``DataError`` where nothing tells: a wrong guess would keep what
    is worse.
    """
    known = _stated(function)
    if known is None:
        known = _by_name(getattr(function, "__name__", None) or type(function).__name__)
    if known is None:
        known = _by_name(name.rpartition(":")[2])
    if known is None:
        attribute = name.rpartition(":")[2]
        raise DataError(
            f"is more of the metric {name!r} better, or less? Say so in its module: "
            f"{attribute}.higher_is_better = True (or False)"
        )
    return known


def _stated(function: Any) -> bool | None:
    stated = getattr(function, "higher_is_better", None)
    if stated is None:
        stated = getattr(function, "greater_is_better", None)
    if stated is not None:
        return bool(stated)
    if is_scorer(function):
        return True  # a scorer negates what should be small
    direction = getattr(function, "_direction", None)  # Keras' metrics: up or down
    return {"up": True, "down": False}.get(direction) if isinstance(direction, str) else None


def is_scorer(function: Any) -> bool:
    """Whether it is what ``sklearn.metrics.make_scorer`` gives."""
    return callable(getattr(function, "_score_func", None)) and hasattr(function, "_sign")


def _by_name(name: str) -> bool | None:
    """What the last word says that means something; ``neg_`` in front turns it round."""
    parted = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name))
    parts = [word for word in re.split(r"[^a-z0-9]+", parted.lower()) if word]
    for word in reversed(parts):
        base = word if word in _LOWER | _HIGHER else word.rstrip("0123456789")
        if base in _LOWER or base in _HIGHER:
            return (base in _HIGHER) != (parts[0] in _NEGATED)
    joined = "".join(parts)
    ends = [word for word in _LOWER | _HIGHER if joined.endswith(word) and word not in _SHORT]
    return max(ends, key=len) in _HIGHER if ends else None
