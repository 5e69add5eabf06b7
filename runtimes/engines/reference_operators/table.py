"""Operators that the ONNX reference evaluator lacks or gets wrong, to be passed to it.

Its own LSTM, GRU and RNN silently ignore sequence lengths, other activations, ``clip`` and
``input_forget``; its Loop without a condition does nothing, and its BatchNormalization below
opset 14 mixes in the statistics of the batch. It has QuantizeLinear and DequantizeLinear only from
opset 19 on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from runtimes.base import Array
from runtimes.engines.reference_operators.batch_normalization import batch_normalization
from runtimes.engines.reference_operators.loop import loop_operator
from runtimes.engines.reference_operators.quantization import (
    dequantize_linear,
    dynamic_quantize_lstm,
    quantize_linear,
)
from runtimes.engines.reference_operators.recurrent import gru, lstm, rnn

Kernel = Callable[[Mapping[str, Any], Sequence[Any]], tuple[Array, ...]]

_FIRST_OWN_QUANTIZATION = 19
# Of BatchNormalization: before the first, and from the second on, an attribute says the mode.
_FIRST_WITHOUT_IS_TEST, _FIRST_WITH_TRAINING_MODE = 7, 14


def operators_for(opset: int) -> list[type[Any]]:
    """Subclasses of ``onnx.reference.op_run.OpRun`` for a model of this opset."""
    made = [
        _operator("", "LSTM", _in_double(lstm)),
        _operator("", "GRU", _in_double(gru)),
        _operator("", "RNN", _in_double(rnn)),
        _operator("com.microsoft", "DynamicQuantizeLSTM", _in_double(dynamic_quantize_lstm)),
        loop_operator(),
    ]
    if _FIRST_WITHOUT_IS_TEST <= opset < _FIRST_WITH_TRAINING_MODE:
        made.append(_operator("", "BatchNormalization", _in_double(batch_normalization)))
    if opset < _FIRST_OWN_QUANTIZATION:
        made += [
            _operator("", "QuantizeLinear", quantize_linear),
            _operator("", "DequantizeLinear", dequantize_linear),
        ]
    return made


def _operator(domain: str, name: str, kernel: Kernel) -> type[Any]:
    from onnx.reference.op_run import OpRun

    def run(self: Any, *inputs: Any, **attributes: Any) -> tuple[Array, ...]:
        given = {key: value for key, value in attributes.items() if value is not None}
        return kernel(given, inputs)

    return type(name, (OpRun,), {"op_domain": domain, "_run": run})


def _in_double(kernel: Kernel) -> Kernel:
    """``kernel``, computed in float64, with outputs in the first input's type."""

    def rounded(attributes: Mapping[str, Any], inputs: Sequence[Any]) -> tuple[Array, ...]:
        found = kernel(attributes, [_wide(array) for array in inputs])
        return tuple(array.astype(inputs[0].dtype) for array in found)

    return rounded


def _wide(array: Any) -> Any:
    return array.astype(np.float64) if array is not None and array.dtype.kind == "f" else array
