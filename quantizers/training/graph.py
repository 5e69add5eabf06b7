"""An ONNX graph as a differentiable function of its parameters, in TensorFlow.

``TrainableGraph.run`` computes what ONNX Runtime does, node by node, from the values that the
parameters have now. It holds no state: who calls it owns the variables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx_ir as ir

from quantizers.training.operators.base import Call, unknown
from quantizers.training.operators.table import TABLE
from quantizers.training.parameters import parameters_of
from quantizers.training.tensors import Tensor
from runtimes.base import Array
from runtimes.errors import ModelError
from runtimes.onnx_files.load_save import model_inputs, model_outputs
from runtimes.onnx_graph.evaluate import is_random
from runtimes.onnx_graph.values import opset


class TrainableGraph:
    """The graph of ``model``, which stays as it is.

    Args:
        model: Its initializers are what the parameters start from.
        dtype: In which floats are computed: ``float32``, or ``float64`` to test gradients.

    Attributes:
        parameters: What is trained, by the names of the initializers.

    Raises:
        UnsupportedOperator: Naming a node that cannot be differentiated.
        ModelError: Nothing in the model can be trained.
    """

    def __init__(self, model: ir.Model, dtype: str = "float32") -> None:
        refuse_unknown(model)
        self.model = model
        self.inputs = model_inputs(model)
        self.outputs = model_outputs(model)
        self.parameters = parameters_of(model)
        if not self.parameters:
            raise ModelError(
                f"{model.graph.name or 'the model'} has no weights that can be trained"
            )
        self._dtype = dtype
        self._opset = opset(model)
        self._constants = {
            id(value): Tensor(self._constant(value))
            for value in model.graph.initializers.values()
            if value.name not in self.parameters
        }

    def initial(self) -> dict[str, Array]:
        """What the parameters are in the model, by name."""
        return {name: parameter.initial(self._dtype) for name, parameter in self.parameters.items()}

    def run(
        self,
        values: Mapping[str, Any],
        feed: Mapping[str, Any],
        wanted: Sequence[str] = (),
        given: Mapping[str, Any] = MappingProxyType({}),
    ) -> dict[str, Any]:
        """The outputs, and the values inside that are ``wanted``, in ONNX' order of axes.

        ``values``: the parameters by name; ``feed``: the inputs by name; ``given``: what nodes read
        of initializers in place of parameters and constants (codes, as floats). TensorFlow tensors
        or NumPy arrays.
        """
        import tensorflow as tf

        if tf.executing_eagerly():
            return self._run(values, feed, wanted, given)
        # AutoGraph would rewrite every operator, which takes longer than all else.
        run = tf.autograph.experimental.do_not_convert(self._run)
        found: dict[str, Any] = run(values, feed, wanted, given)
        return found

    def _run(
        self,
        values: Mapping[str, Any],
        feed: Mapping[str, Any],
        wanted: Sequence[str],
        given: Mapping[str, Any],
    ) -> dict[str, Any]:
        import tensorflow as tf

        known = dict(self._constants)
        for value in self.model.graph.inputs:
            known[id(value)] = Tensor(self._computed(tf.convert_to_tensor(feed[str(value.name)])))
        for name, parameter in self.parameters.items():
            if name not in given:
                known[id(parameter.value)] = parameter.tensor(tf.convert_to_tensor(values[name]))
        for name, data in given.items():
            known[id(self.model.graph.initializers[name])] = Tensor(tf.convert_to_tensor(data))
        names = {spec.name for spec in self.outputs} | set(wanted)
        found: dict[str, Any] = {}
        for node in self.model.graph:
            for value, tensor in zip(node.outputs, self._compute(node, known), strict=False):
                known[id(value)] = tensor
                if value.name in names:
                    found[str(value.name)] = tensor.first
        for value in self.model.graph.outputs:
            found.setdefault(str(value.name), known[id(value)].first)
        return found

    def _compute(self, node: ir.Node, known: Mapping[int, Tensor]) -> Sequence[Tensor]:
        inputs = [None if value is None else known[id(value)] for value in node.inputs]
        call = Call(node, inputs, self._opset, self._dtype)
        compute = TABLE[node.domain, node.op_type]
        if all(tensor is None or isinstance(tensor.data, np.ndarray) for tensor in inputs):
            return _at_once(compute, call)
        return compute(call)

    def _computed(self, tensor: Any) -> Any:
        import tensorflow as tf

        return tf.cast(tensor, self._dtype) if tensor.dtype.is_floating else tensor

    def _constant(self, value: ir.Value) -> Array:
        if value.const_value is None:
            raise ModelError(f"the initializer {value.name!r} has no value")
        array = np.asarray(value.const_value.numpy())
        kind = value.const_value.dtype
        if kind.is_floating_point():
            return array.astype(self._dtype)
        if kind.bitwidth < 8:
            return array.astype(np.int8 if kind.is_signed() else np.uint8)
        return array


def refuse_unknown(model: ir.Model) -> None:
    """Raise ``UnsupportedOperator`` where a node of ``model`` cannot be differentiated."""
    for node in model.graph:
        if (node.domain, node.op_type) not in TABLE or is_random(node):
            raise unknown(node)


def _at_once(compute: Any, call: Call) -> Sequence[Tensor]:
    """What does not depend on inputs or parameters is computed once, as NumPy arrays."""
    import tensorflow as tf

    with tf.init_scope():
        found = compute(call)
        return [Tensor(np.asarray(tensor.data), tensor.channels_last) for tensor in found]
