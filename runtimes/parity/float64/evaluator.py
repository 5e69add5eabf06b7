"""An ONNX graph evaluated in double precision: what it would give without rounding.

Node by node, so that memory holds only what is still needed: by ONNX Runtime's double kernels
where it has them, by ``runtimes.parity.float64.kernels`` or the ONNX reference evaluator elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from runtimes.base import Array, Feed
from runtimes.engines.ort_install import require_onnxruntime
from runtimes.errors import ModelError, first_line
from runtimes.onnx_files.load_save import model_inputs
from runtimes.onnx_graph.evaluate import is_random
from runtimes.onnx_graph.subgraphs import captured, extract_submodel, last_uses, needs
from runtimes.parity.float64.kernels import KERNELS

_NARROW = {ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16}
# ONNX Runtime's OrtLoggingLevel: a kernel that is not there is no news, the next backend is tried.
_FATAL = 4

Values = list[Any]


class DoubleEvaluator:
    """Evaluates a float model with every float widened to double.

    ``narrow`` names the operators that were evaluated in single precision after all. Raises
    ``ModelError`` naming the node that cannot be evaluated (random numbers, quantized integers,
    operators of other domains).
    """

    def __init__(self, model: ir.Model) -> None:
        self.name = model.graph.name or "the ONNX model"
        self.inputs = model_inputs(model)
        self._model = model
        self._nodes = list(model.graph)
        kept = {id(value) for value in model.graph.outputs}
        touched = [[id(v) for v in (*needs(node), *node.outputs)] for node in self._nodes]
        self._dead = [[v for v in dead if v not in kept] for dead in last_uses(touched)]
        self._calls: dict[int, Callable[[Values], Values]] = {}
        self.narrow: set[str] = set()

    def run(self, feed: Feed, outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """Evaluate one batch of inputs of the model's own dtypes; floats come out as float64."""
        graph = self._model.graph
        values: dict[int, Any] = {
            id(value): widened(feed[str(value.name)])
            for value in graph.inputs
            if str(value.name) in feed
        }
        for node, dead in zip(self._nodes, self._dead, strict=True):
            found = self._evaluate(node, values)
            for value, array in zip(node.outputs, found, strict=False):
                values[id(value)] = array
            for value_id in dead:
                values.pop(value_id, None)
        return {
            str(value.name): values[id(value)] if id(value) in values else _constant(value)
            for value in graph.outputs
            if outputs is None or value.name in outputs
        }

    def _evaluate(self, node: ir.Node, values: Mapping[int, Any]) -> Values:
        inputs = [
            None if v is None else values[id(v)] if id(v) in values else _constant(v)
            for v in [*node.inputs, *captured(node)]
        ]
        call = self._calls.get(id(node))
        if call is None:
            call, found = self._first(node, inputs)
            self._calls[id(node)] = call
        else:
            found = call(inputs)
        wide = any(a is not None and a.dtype == np.float64 for a in inputs)
        for array in found:
            if wide and array is not None and array.dtype in (np.float32, np.float16):
                self.narrow.add(node.op_type)
        return [None if a is None else widened(np.asarray(a)) for a in found]

    def _first(self, node: ir.Node, inputs: Values) -> tuple[Callable[[Values], Values], Values]:
        """The first way of evaluating ``node`` that works, and what it gives."""
        if is_random(node):
            raise _refusal(node, "it draws random numbers")
        failure: Exception | None = None
        for make in (_by_kernel, _by_onnxruntime, _by_reference):
            try:
                call = make(self._model, node, inputs)
                if call is not None:
                    return call, call(inputs)
            except Exception as error:  # whatever a backend raises, the next one is tried
                failure = error
        reason = "no backend has it" if failure is None else first_line(failure)
        raise _refusal(node, reason) from failure


def widened(array: Array) -> Array:
    """Floats as float64, anything else as it is."""
    if array.dtype.kind == "f" or array.dtype.name == "bfloat16":
        return array.astype(np.float64)
    return array


def _by_kernel(model: ir.Model, node: ir.Node, inputs: Values) -> Callable[[Values], Values] | None:
    kernel = KERNELS.get(node.op_type)
    if kernel is None or node.domain not in ("", "ai.onnx"):
        return None
    attributes = {name: attribute.value for name, attribute in node.attributes.items()}

    def call(arrays: Values) -> Values:
        return list(kernel(attributes, arrays))

    return call


def _by_onnxruntime(
    model: ir.Model, node: ir.Node, inputs: Values
) -> Callable[[Values], Values] | None:
    ort = require_onnxruntime()
    single, names = _single(model, node, inputs)
    options = ort.SessionOptions()
    options.log_severity_level = _FATAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(
        ir.to_proto(single).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    run_options = ort.RunOptions()
    run_options.log_severity_level = _FATAL
    places = [i for i, value in enumerate(node.outputs) if value.name]

    def call(arrays: Values) -> Values:
        feed = {name: arrays[place] for name, place in names.items()}
        found = session.run(None, feed, run_options)
        return _spread(found, places, len(node.outputs))

    return call


def _by_reference(
    model: ir.Model, node: ir.Node, inputs: Values
) -> Callable[[Values], Values] | None:
    from onnx.reference import ReferenceEvaluator

    single, names = _single(model, node, inputs)
    evaluator = ReferenceEvaluator(ir.to_proto(single))
    places = [i for i, value in enumerate(node.outputs) if value.name]

    def call(arrays: Values) -> Values:
        found = evaluator.run(None, {name: arrays[place] for name, place in names.items()})
        return _spread(list(found), places, len(node.outputs))

    return call


def _single(model: ir.Model, node: ir.Node, inputs: Values) -> tuple[ir.Model, dict[str, int]]:
    """A model of one node, widened, with all that it reads as inputs: name → place."""
    fed: dict[int, ir.Value] = {}
    names: dict[str, int] = {}
    types = {}
    for place, value in enumerate([*node.inputs, *captured(node)]):
        if value is None or id(value) in fed:
            continue
        fed[id(value)] = value
        names[str(value.name)] = place
        types[str(value.name)] = (inputs[place].dtype, inputs[place].ndim)
    outputs = [value for value in node.outputs if value.name]
    single = extract_submodel(model, list(fed.values()), outputs, [node], types)
    widen(single)
    return single, names


def widen(model: ir.Model) -> None:
    """Make every float of a model a double, in place: types, weights, casts, constants."""
    for graph in model.graphs():
        for value in (*graph.inputs, *graph.initializers.values()):
            _widen_value(value)
        for value in graph.outputs:
            value.type, value.shape = None, None
        for node in graph:
            _widen_node(node)


def _widen_value(value: ir.Value) -> None:
    if value.dtype in _NARROW:
        value.type = ir.TensorType(ir.DataType.DOUBLE)
    if value.const_value is not None and value.const_value.dtype in _NARROW:
        value.const_value = ir.tensor(widened(value.const_value.numpy()), name=value.name)


def _widen_node(node: ir.Node) -> None:
    for value in node.outputs:
        value.type, value.shape = None, None
    for name, attribute in list(node.attributes.items()):
        if attribute.type == ir.AttributeType.TENSOR and attribute.value.dtype in _NARROW:
            tensor = ir.tensor(widened(attribute.value.numpy()))
            node.attributes[name] = ir.AttrTensor(name, tensor)
        elif name in ("to", "dtype", "stash_type") and attribute.type == ir.AttributeType.INT:
            if attribute.value in _NARROW:
                node.attributes[name] = ir.AttrInt64(name, int(ir.DataType.DOUBLE))
        elif node.op_type == "Constant" and name in ("value_float", "value_floats"):
            del node.attributes[name]
            node.attributes["value"] = ir.AttrTensor(
                "value", ir.tensor(np.float64(attribute.value))
            )
    if node.op_type == "ConstantOfShape" and "value" not in node.attributes:
        node.attributes["value"] = ir.AttrTensor("value", ir.tensor(np.zeros(1)))


def _spread(found: Sequence[Any], places: Sequence[int], count: int) -> Values:
    values: Values = [None] * count
    for place, array in zip(places, found, strict=True):
        values[place] = array
    return values


def _constant(value: ir.Value) -> Array:
    if value.const_value is None:
        raise ModelError(f"the value {value.name!r} has neither a producer nor a weight")
    return widened(value.const_value.numpy())


def _refusal(node: ir.Node, reason: str) -> ModelError:
    return ModelError(
        f"node {node.name!r} ({node.op_type}) cannot be evaluated in double precision: {reason}"
    )
