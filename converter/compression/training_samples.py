"""Do the samples that calibrate look like those that the model was trained on?

A model knows the answers to its training samples, and outputs that are that sure survive a lot. A
search that is judged on them goes further than new samples allow.
"""

from __future__ import annotations

import math

from quantizers.calibration.statistics import spread
from runtimes.data.dataset import Dataset
from runtimes.engines.runtime import Runtime
from runtimes.metrics.metric import open_metric
from runtimes.parity.check import evaluate

# Metrics that are shares of right answers, so that their errors follow from the share.
_SHARES = frozenset({"top1", "top5", "binary_accuracy", "binary_accuracy_logits"})
# As many samples as tell; of fewer than the least nothing is said.
_MOST, _LEAST = 256, 50
# Standard errors, and the least distance that matters.
_SURELY = 3.0
_LEAST_GAP = 0.01
_NEARLY_ALL = 0.995


def looks_like_training(
    reference: Runtime, calibration: Dataset, evaluation: Dataset, metric: str, reached: float
) -> str | None:
    """What to tell the user where ``reference`` knows ``calibration`` too well, else None.

    ``reached``: the metric on ``evaluation``. Of two parts of one data set, both may be known.
    """
    asked = spread(calibration, _MOST)
    count, others = asked.num_samples or 0, evaluation.num_samples or 0
    if metric.partition(":")[0] not in _SHARES or min(count, others) < _LEAST:
        return None
    if not _has_labels(reference, asked, metric):
        return None
    found = evaluate(reference, asked, metric)
    error = math.hypot(_error(found, count), _error(reached, others))
    if found - reached > max(_LEAST_GAP, _SURELY * error):
        why = f"{found:.4f} on them and {reached:.4f} on those that evaluate"
    elif calibration.name == evaluation.name and min(found, reached) >= _NEARLY_ALL:
        why = f"{min(found, reached):.4f} on all of {calibration.name}"
    else:
        return None
    return (
        f"the calibration samples look like training samples (fp32 reaches {metric} {why}): what "
        "is fitted and judged on them promises too much; give samples that training never saw"
    )


def _has_labels(reference: Runtime, data: Dataset, metric: str) -> bool:
    names = [spec.name for spec in reference.outputs]
    if not data.label_names:
        return False
    output = open_metric(metric, names, data.label_names).output
    return output in data.label_names or "" in data.label_names


def _error(share: float, count: int) -> float:
    """Standard error of a share of so many, which is not zero where all are right."""
    share = (share * count + 1) / (count + 2)
    return math.sqrt(share * (1 - share) / count)
