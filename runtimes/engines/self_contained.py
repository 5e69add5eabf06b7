"""A model in memory that refers to no file, for engines that take bytes."""

from __future__ import annotations

import onnx_ir as ir


def self_contained(model: ir.Model) -> ir.Model:
    """A copy of ``model`` with its external weights loaded; all other weights are shared."""
    copy = model.clone()
    for graph in copy.graphs():
        for value in graph.initializers.values():
            if isinstance(value.const_value, ir.ExternalTensor):
                value.const_value = ir.tensor(value.const_value.numpy(), name=value.name)
    return copy
