"""Trained values into the graph that they came from: same nodes, same names, other numbers."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from quantizers.training.parameters import parameters_of
from runtimes.base import Array


def with_values(model: ir.Model, values: Mapping[str, Array]) -> ir.Model:
    """A copy of ``model`` whose initializers hold ``values``, by name and in their own dtypes."""
    trained = model.clone()
    for name, parameter in parameters_of(trained).items():
        if name in values:
            before = parameter.value.const_value
            assert before is not None
            parameter.value.const_value = ir.tensor(
                parameter.stored(values[name]), dtype=before.dtype, name=name
            )
    return trained
