"""BatchNormalization of the opsets 7 to 13: https://onnx.ai/onnx/operators/."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from runtimes.base import Array


def batch_normalization(attributes: Mapping[str, Any], inputs: Sequence[Any]) -> tuple[Array, ...]:
    """By the statistics that it is given; the evaluator's own mixes in those of the batch."""
    x = inputs[0]
    scale, bias, mean, variance = (array.reshape(-1, *(1,) * (x.ndim - 2)) for array in inputs[1:5])
    return (scale * (x - mean) / np.sqrt(variance + attributes.get("epsilon", 1e-5)) + bias,)
