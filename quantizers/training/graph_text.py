"""A graph as text without its parameters, for the configuration of a saved Keras model.

The parameters are variables, which Keras stores by itself; here only their dtypes and shapes stay.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from typing import Any

import numpy as np
import onnx_ir as ir

from quantizers.training.parameters import parameters_of
from runtimes.errors import ModelError

_NOTHING = np.zeros(0, np.float32)


def graph_to_config(model: ir.Model) -> dict[str, Any]:
    """The graph for JSON: compressed bytes as text, and the shape and dtype of each parameter."""
    bare = model.clone()
    shapes = {}
    for name, parameter in parameters_of(bare).items():
        tensor = parameter.value.const_value
        assert tensor is not None
        shapes[name] = {"dtype": tensor.dtype.name, "shape": list(tensor.numpy().shape)}
        parameter.value.const_value = ir.tensor(_NOTHING, name=name)
        parameter.value.type, parameter.value.shape = None, None
    packed = zlib.compress(ir.to_proto(bare).SerializeToString(), 9)
    return {"graph": base64.b64encode(packed).decode("ascii"), "parameters": shapes}


def graph_from_config(config: dict[str, Any]) -> ir.Model:
    """The graph that ``graph_to_config`` described; its parameters hold zeros.

    Raises ``ModelError`` where the text is damaged.
    """
    import onnx

    try:
        packed = zlib.decompress(base64.b64decode(config["graph"], validate=True))
        model: ir.Model = ir.from_proto(onnx.ModelProto.FromString(packed))
        for name, what in config["parameters"].items():
            kind = ir.DataType[what["dtype"]]
            tensor = ir.tensor(np.zeros(what["shape"], kind.numpy()), dtype=kind, name=name)
            value = model.graph.initializers[name]
            value.const_value = tensor
            value.type, value.shape = ir.TensorType(kind), ir.Shape(what["shape"])
    except (KeyError, TypeError, ValueError, zlib.error, binascii.Error) as error:
        raise ModelError(
            f"the saved graph cannot be read ({error}); save the model again"
        ) from error
    return model
