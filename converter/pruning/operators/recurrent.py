"""LSTM, GRU and RNN: hidden units are channels, with a row of weights for each gate.

https://onnx.ai/onnx/operators/onnx__LSTM.html
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from converter.pruning.operators.channels import IntArray
from converter.pruning.operators.rule import Axes, Kept, Recorder, Unknown, constant_shape, present
from runtimes.onnx_graph.values import is_constant

_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_SEQUENCE, _WEIGHT, _RECURRENCE, _BIAS, _LENGTHS, _HIDDEN, _CELL, _PEEPHOLE = range(8)


def recurrent(node: ir.Node, record: Recorder) -> Sequence[Axes]:
    """Units of all directions at one place go together: there is one hidden size.

    ``W[directions, gates·units, inputs]``, ``R[directions, gates·units, units]``,
    ``B[directions, 2·gates·units]``, ``P[directions, 3·units]``.
    """
    gates = _GATES[node.op_type]
    weight, recurrence = constant_shape(node.inputs[1]), constant_shape(node.inputs[2])
    if weight is None or recurrence is None:
        raise Unknown("its weights are not constants")
    sequence = record.input_axes(node, _SEQUENCE)
    record.close_positions(node, sequence, 2)
    if sequence[2] is not None:
        record.use(node, _WEIGHT, 2, sequence[2], reads=True)
    units = record.make(node, recurrence[2])
    record.use(node, _WEIGHT, 1, np.tile(units, gates))
    record.use(node, _RECURRENCE, 1, np.tile(units, gates))
    record.use(node, _RECURRENCE, 2, units, reads=True)
    for index, times in ((_BIAS, 2 * gates), (_PEEPHOLE, 3)):
        value = present(node, index)
        if value is not None and not is_constant(value):
            raise Unknown(f"its input {index} is not a constant")
        if value is not None:
            record.use(node, index, 1, np.tile(units, times))
    for index in (_HIDDEN, _CELL):
        _state(node, record, index, units)

    def set_hidden_size(node: ir.Node, kept: Kept) -> None:
        node.attributes["hidden_size"] = ir.AttrInt64("hidden_size", kept.count(units))

    record.edit(node, set_hidden_size)
    rows: Axes = (None, None, None, units)
    return [rows, *[(None, None, units)] * (len(node.outputs) - 1)]


def _state(node: ir.Node, record: Recorder, index: int, units: IntArray) -> None:
    value = present(node, index)
    if value is None:
        return
    if is_constant(value):
        record.use(node, index, 2, units)
        return
    axes = record.input_axes(node, index)
    record.close_positions(node, axes, 2)
    if axes[2] is None:
        record.close(node, units, f"its state {value.name!r} there has no channels to cut")
    else:
        record.channels.unify(axes[2], units)
