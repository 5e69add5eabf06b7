"""How far a student is from its teacher: squared error of values, divergence of classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from quantizers.training.pool import Group
from quantizers.training.targets import Target
from runtimes.base import Array

# A column that hardly varies counts as if it varied by so much of what columns do on average.
_LEAST_SHARE = 1e-2
# What logits are divided by before they become probabilities: the classes that are not the answer
# weigh more then (Hinton et al., https://arxiv.org/abs/1503.02531, which also multiplies the
# gradients by its square).
_TEMPERATURE = 4.0


class DistillationLoss:
    """The mean over all targets of the squared error relative to the teacher's variance.

    Columns of the last axis count alike, however large they are. Where classes compete, the
    Kullback-Leibler divergence of the probabilities is added.
    ``classes``: outputs whose largest value along the last axis is the answer, though no softmax
    says so.
    """

    def __init__(
        self, targets: Sequence[Target], groups: Sequence[Group], classes: frozenset[str]
    ) -> None:
        self._targets = targets
        self._classes = classes | {target.output for target in targets if target.is_logits}
        self._variances = {
            target.output: _variance([group.targets[target.output] for group in groups])
            for target in targets
        }

    def error(self, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> Any:
        """The relative squared error alone, by which models are compared."""
        import tensorflow as tf

        parts = [self._squared(target, found, wanted) for target in self._targets]
        return tf.add_n(parts) / len(parts)

    def loss(self, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> Any:
        """What training lessens."""
        import tensorflow as tf

        total = self.error(found, wanted)
        for target in self._targets:
            if target.output in self._classes:
                student = found[target.student] / _TEMPERATURE
                classes = tf.nn.softmax(wanted[target.output] / _TEMPERATURE)
                entropy = tf.nn.softmax_cross_entropy_with_logits(classes, student)
                total += _TEMPERATURE**2 * tf.reduce_mean(entropy) / len(self._targets)
        return total

    def _squared(self, target: Target, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> Any:
        import tensorflow as tf

        teacher = wanted[target.output]
        finite = tf.math.is_finite(teacher)  # -inf is a mask
        difference = tf.where(finite, found[target.student] - teacher, tf.zeros_like(teacher))
        return tf.reduce_mean(difference * difference / self._variances[target.output])


def _variance(arrays: Sequence[Array]) -> Array:
    """Of each column of the last axis, over everything."""
    width = arrays[0].shape[-1] if arrays[0].ndim > 1 else 1
    if any(array.ndim > 1 and array.shape[-1] != width for array in arrays):
        width = 1  # the last axis has another size each time
    rows = np.concatenate([array.reshape(-1, width) for array in arrays]).astype(np.float64)
    if np.isfinite(rows).all():  # as nearly always, and several times as fast
        variance = rows.var(axis=0)
    else:
        variance = np.nan_to_num(np.nanvar(np.where(np.isfinite(rows), rows, np.nan), axis=0))
    least = max(_LEAST_SHARE * float(variance.mean()), float(np.finfo(np.float32).tiny))
    return np.asarray(np.maximum(variance, least).astype(np.float32))
