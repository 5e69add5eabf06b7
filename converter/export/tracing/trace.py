"""Trace a Keras model as a TensorFlow graph that does not hold its weights.

Weights are passed to the traced function as arguments (through Keras' ``StatelessScope``), so a
large weight is a placeholder in the graph: freezing, grappler and tf2onnx see its shape but never
its bytes. A GraphDef can hold 2 GB, and every step copies it; without weights it has a few
kilobytes. Small variables (BatchNormalization statistics, biases) are traced as constants, so that
the following steps can fold them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

from converter.export.tracing.call_scopes import strip_calls
from converter.export.tracing.control_flow import graph_control_flow
from converter.export.tracing.freeze import freeze
from converter.export.tracing.grappler import simplified
from converter.export.tracing.layer_scopes import layer_scopes
from converter.export.tracing.lookup_tables import read_tables, state_shapes
from converter.export.tracing.loop_lists import order_lists
from converter.export.tracing.states import State, TracedState
from converter.lowering.layers.table import marked_layers
from converter.lowering.low_bit.layers import LowBitStandIns
from converter.lowering.low_bit.weights import LowBitMatrix, low_bit_layers
from converter.lowering.variables import bytes_of, values_of
from runtimes.base import Array, TensorSpec
from runtimes.errors import ConversionError, KilnxError
from runtimes.keras_models.parts import keras_variables
from runtimes.keras_models.saved_model import NETWORK_NAME
from runtimes.keras_models.signature import KerasSignature

_Weight = TypeVar("_Weight")

# Weights larger than this many bytes are kept outside the graph.
STAND_IN_ABOVE_BYTES = 64 * 1024


@dataclass(frozen=True)
class TracedModel:
    """A frozen GraphDef, the tensor names of its interface and the weights outside the graph.

    ``weights`` maps the tensor name of a stand-in placeholder to ``(name, array)``: the Keras
    path of the weight and its values, which share memory with the Keras model.
    ``matrices`` are the stand-ins for low-bit weights, which are float32 in the graph.
    ``tables`` holds keys and values of lookup tables by shared name.
    ``output_shapes`` are static shapes with ``None`` for a dynamic dimension; ``layers`` holds
    the paths of the layers that were called, which are the scopes in operators' names.
    ``states`` are the last of the inputs, and their next values are the last of the outputs.
    """

    graph_def: Any
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    output_names: tuple[str, ...]
    output_shapes: tuple[tuple[int | None, ...] | None, ...]
    weights: dict[str, tuple[str, Array]]
    tables: dict[str, tuple[Array, Array]]
    layers: frozenset[str]
    matrices: dict[str, LowBitMatrix] = field(default_factory=dict)
    states: tuple[TracedState, ...] = ()


def trace(
    model: Any,
    signature: KerasSignature,
    *,
    stand_in_above: int = STAND_IN_ABOVE_BYTES,
    states: Sequence[State] = (),
) -> TracedModel:
    """Trace ``model(inputs, training=False)`` once and freeze what is left in the graph.

    ``stand_in_above`` is in bytes. ``states`` become inputs and outputs of the graph. Raises
    ``ConversionError`` if the model cannot be called on its signature.
    """
    import keras
    import tensorflow as tf

    held = {id(state.variable) for state in states}
    variables = list({id(v): v for v in keras_variables(model) if id(v) not in held}.values())
    large = [v for v in variables if bytes_of(v.value) > stand_in_above]
    small = [v for v in variables if bytes_of(v.value) <= stand_in_above]
    constants = [(v, values_of(v.value)) for v in small]
    names: list[str] = []
    low_bit = LowBitStandIns(low_bit_layers(model))

    def call(
        inputs: Sequence[Any],
        weights: Sequence[Any],
        beside: Sequence[Any],
        remembered: Sequence[Any],
    ) -> list[Any]:
        low_bit.serve(beside)
        mapping = [(v, tf.constant(values, dtype=v.value.dtype)) for v, values in constants]
        mapping += zip(large, weights, strict=True)
        mapping += zip((state.variable for state in states), remembered, strict=True)
        with keras.StatelessScope(state_mapping=mapping) as scope:
            outputs = signature.call(model, inputs)
        names[:] = signature.output_names(outputs)
        after = [scope.get_current_value(state.variable) for state in states]
        return [tf.identity(tensor) for tensor in [*keras.tree.flatten(outputs), *after]]

    input_specs = [
        tf.TensorSpec(_static(spec.shape), spec.dtype, name=f"kilnx_input_{i}")
        for i, spec in enumerate(signature.inputs)
    ]
    weight_specs = [
        tf.TensorSpec(v.shape, v.value.dtype, name=f"kilnx_weight_{i}") for i, v in enumerate(large)
    ]
    state_specs = [
        tf.TensorSpec(state.variable.shape, state.variable.value.dtype, name=f"kilnx_state_{i}")
        for i, state in enumerate(states)
    ]

    def traced(autograph: bool) -> Any:
        function = tf.function(call, autograph=autograph)
        with graph_control_flow() if autograph else nullcontext():
            return function.get_concrete_function(
                input_specs, weight_specs, low_bit.specs(), state_specs
            )

    function, layers = _traced(traced, model, signature, low_bit.replacements())
    names_of = iter(tensor.name for tensor in function.inputs)
    given, stand_ins_of_weights, packed_names, remembered_names = (
        list(islice(names_of, count))
        for count in (len(input_specs), len(large), len(low_bit), len(states))
    )
    inputs, outputs = [*given, *remembered_names], [tensor.name for tensor in function.outputs]
    stand_ins = [*stand_ins_of_weights, *packed_names]
    weights = {
        name: (variable.path, values_of(variable.value))
        for name, variable in zip(stand_ins_of_weights, large, strict=True)
    }
    matrices, packed = low_bit.named(packed_names)
    shapes = tuple(
        None if t.shape.rank is None else tuple(t.shape.as_list()) for t in function.outputs
    )
    graph_def, captured = freeze(function, stand_in_above=stand_in_above, beside=stand_ins)
    weights = _used(weights | packed, graph_def) | captured
    matrices = _used(matrices, graph_def)
    tables = read_tables(function, graph_def)
    interface = [*inputs, *weights, *matrices, *outputs]
    layers |= strip_calls(
        graph_def, layers, fixed=[name.split(":")[0] for name in interface], whole=NETWORK_NAME
    )
    layers.discard(NETWORK_NAME)
    order_lists(graph_def)
    graph_def = simplified(
        graph_def,
        fetch=[*inputs, *weights, *matrices, *outputs],
        hidden=[name.split(":")[0] for name in (*stand_ins, *weights)],
    )
    state_shapes(graph_def)
    return TracedModel(
        graph_def,
        tuple(inputs),
        tuple(outputs),
        (*names, *(state.next_name for state in states)),
        shapes,
        weights,
        tables,
        frozenset(layers),
        matrices,
        tuple(
            TracedState(state.name, state.next_name, values_of(state.variable.value))
            for state in states
        ),
    )


def _traced(
    traced: Callable[[bool], Any], model: Any, signature: KerasSignature, replacements: Any
) -> tuple[Any, set[str]]:
    """The concrete function, and the paths of the layers that were called in it."""
    import tensorflow as tf

    try:
        with tf.device("/cpu:0"), layer_scopes() as layers, marked_layers(replacements):
            return _as_graph(traced), layers
    except KilnxError:
        raise
    except Exception as error:
        if _succeeds(lambda: traced(True)):
            raise  # the model fails only with the markers, so they have a defect
        raise ConversionError(
            f"the model {model.name!r} cannot be called on {signature}: "
            f"{type(error).__name__}: {error}{_way_out(error, signature)}"
        ) from error


def _as_graph(traced: Callable[[bool], Any]) -> Any:
    """The function as it is, else with the Python control flow on tensors rewritten."""
    try:
        return traced(False)
    except TypeError as error:  # such as of `for step in range(length)`
        try:
            return traced(True)
        except KilnxError:
            raise
        except Exception:
            raise error from None  # it says more than the failure of what was rewritten


def _way_out(error: Exception, signature: KerasSignature) -> str:
    """What to do about code that wants a number where a graph has a tensor."""
    if not signature.is_dynamic or not re.search("symbolic", str(error), re.IGNORECASE):
        return ""
    return (
        "\nThe code of a layer wants a number where a graph has a tensor. If that is a size of an "
        "input, fix it: " + " ".join(map(_fixed, signature.inputs))
    )


def _fixed(spec: TensorSpec) -> str:
    """The option that fixes the sizes of an input, with 128 for each that is free."""
    dims = [
        str(dim) if isinstance(dim, int) else "128" if axis else "batch"
        for axis, dim in enumerate(spec.shape or ())
    ]
    return f"--signature {spec.name}={','.join(dims)}:{spec.dtype}"


def _succeeds(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except Exception:
        return False
    return True


def _used(weights: dict[str, _Weight], graph_def: Any) -> dict[str, _Weight]:
    """The stand-ins that are read; a SavedModel inside a model reads its own variables instead."""
    read = {source.split(":")[0] for node in graph_def.node for source in node.input}
    return {name: weight for name, weight in weights.items() if name.split(":")[0] in read}


def _static(shape: Sequence[int | str | None] | None) -> list[int | None] | None:
    return None if shape is None else [d if isinstance(d, int) else None for d in shape]
