"""Large weights go to a session as they are in memory.

As part of a message they would be copied four times: into it, into its bytes, and twice while ONNX
Runtime reads those, which takes longer than all else that opening a session of them does.
"""

from __future__ import annotations

import onnx_ir as ir

from runtimes.base import Array

# Models of less are opened so quickly that it does not matter, and weights of less.
_LEAST_OF_MODEL = 16 * 2**20
_LEAST = 64 * 2**10
_NOWHERE = "in memory"
# What NumPy has as well.
_KINDS = frozenset({ir.DataType.FLOAT, ir.DataType.INT8, ir.DataType.UINT8, ir.DataType.INT32})


def weights_apart(model: ir.Model) -> tuple[ir.Model, dict[str, Array]]:
    """The model without its large weights, and those by name; itself where it has none.

    They are declared to be in a file that does not exist, and have to be given to the session. The
    arrays are those of ``model``.
    """
    found = {
        name: value.const_value
        for name, value in model.graph.initializers.items()
        if value.const_value is not None
        and value.const_value.nbytes >= _LEAST
        and value.const_value.dtype in _KINDS
        and not isinstance(value.const_value, ir.ExternalTensor)
        and not value.is_graph_input()
        and not value.is_graph_output()
    }
    if sum(tensor.nbytes for tensor in found.values()) < _LEAST_OF_MODEL:
        return model, {}
    without = model.clone()
    for name, tensor in found.items():
        without.graph.initializers[name].const_value = ir.ExternalTensor(
            _NOWHERE,
            0,
            tensor.nbytes,
            tensor.dtype,
            shape=ir.Shape(tensor.shape.numpy()),
            name=name,
        )
    return without, {name: tensor.numpy() for name, tensor in found.items()}
