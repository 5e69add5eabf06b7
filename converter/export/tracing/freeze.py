"""Turn a traced function into one GraphDef without calls and variables.

Besides its arguments, a function may read variables that Keras does not know, as in a SavedModel,
and eager tensors. Small ones become constants, and others become placeholders, called stand-ins,
like the weights of a Keras model: a GraphDef cannot hold more than 2 GB, and every step copies it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from converter.export.tracing.grappler import inlined
from converter.lowering.variables import bytes_of, is_variable, values_of
from runtimes.base import Array
from runtimes.errors import ConversionError

# What a GraphDef can hold, minus some space for the graph itself.
_CONSTANTS_LIMIT_BYTES = 2_000_000_000

_READS = {"ReadVariableOp", "ResourceGather", "ResourceGatherNd"}


def freeze(
    function: Any, *, stand_in_above: int, beside: Iterable[str] = ()
) -> tuple[Any, dict[str, tuple[str, Array]]]:
    """Inline the calls of a concrete function and freeze what it captured.

    ``beside`` are the inputs, tensors by name, that are already stand-ins for weights. Returns the
    GraphDef, with the function's input and output names, and the stand-ins, which map the tensor
    name of a placeholder to the (name, values) of a variable or tensor larger than
    ``stand_in_above`` bytes. Values share memory with the variables. Lookup tables stay captured.
    Raises ``ConversionError`` for a function that writes to a variable, and if the constants do
    not fit into a GraphDef.
    """
    captured = _captured(function)
    large = {name for name, value in captured.items() if bytes_of(value) > stand_in_above}
    hidden = [tensor.split(":")[0] for tensor in beside]
    graph_def = inlined(
        function.graph.as_graph_def(),
        fetch=[tensor.name for tensor in (*function.inputs, *function.outputs)],
        hidden=[*hidden, *(name for name in large if not is_variable(captured[name]))],
    )
    conversion = _conversion(function, graph_def, large)
    _refuse_writes(conversion.graph_def, captured)
    resources = {name for name in large if is_variable(captured[name])}
    looped = resources - _only_read(conversion.graph_def, resources)
    if looped:
        # Loops pass their variables from step to step as resources; those become constants.
        large -= looped
        conversion = _conversion(function, graph_def, large)
    _check_size(value for name, value in captured.items() if name not in large)
    graph_def = _with_constants(conversion)
    _let_stand_in(graph_def, {name: captured[name] for name in resources & large})
    return graph_def, {
        f"{name}:0": (_name_of(captured[name], name), values_of(captured[name]))
        for name in sorted(large)
    }


def _captured(function: Any) -> dict[str, Any]:
    """Captured variables and eager tensors, by the names of their placeholders in the graph."""
    import tensorflow as tf

    by_handle = {id(variable.handle): variable for variable in function.graph.variables}
    captured = {}
    for outer, inner in function.graph.captures:
        value = by_handle.get(id(outer)) if outer.dtype == tf.resource else outer
        if value is not None and value.dtype != tf.variant and value.shape.is_fully_defined():
            captured[inner.op.name] = value
    return captured


def _name_of(value: Any, placeholder: str) -> str:
    return str(value.name).split(":")[0] if is_variable(value) else placeholder


def _conversion(function: Any, graph_def: Any, kept: set[str]) -> Any:
    """TensorFlow's plan for freezing everything that ``function`` captured except ``kept``.

    Its own way to create one would inline again, with another copy of all weights.
    """
    from tensorflow.python.framework import convert_to_constants

    class Plan(convert_to_constants._FunctionConverterDataInEager):  # type: ignore[misc]
        def __init__(self) -> None:
            self._func = function
            convert_to_constants._ConverterData.__init__(
                self, graph_def, variable_names_denylist=kept
            )
            self._build_tensor_data()

    return Plan()


def _with_constants(conversion: Any) -> Any:
    from tensorflow.python.framework import convert_to_constants

    graph_def, _ = convert_to_constants._replace_variables_by_constants(conversion)
    return graph_def


def _check_size(constants: Iterable[Any]) -> None:
    total = sum(bytes_of(value) for value in constants)
    if total > _CONSTANTS_LIMIT_BYTES:
        raise ConversionError(
            f"{total / 1e9:.1f} GB of weights are used inside loops or branches of TensorFlow, "
            "and a TensorFlow graph cannot hold more than 2 GB of such weights; export the Keras "
            "model itself (a .keras file), whose layers need no loops"
        )


def _users(graph_def: Any, names: Iterable[str]) -> dict[str, list[Any]]:
    """The nodes that read the output of each node of ``names``, looking through Identity."""
    consumers: dict[str, list[Any]] = {}
    for node in graph_def.node:
        for source in {text.split(":")[0] for text in node.input if not text.startswith("^")}:
            consumers.setdefault(source, []).append(node)

    def users(name: str) -> list[Any]:
        direct = consumers.get(name, [])
        passed_on = [user for node in direct if node.op == "Identity" for user in users(node.name)]
        return [*direct, *passed_on]

    return {name: users(name) for name in names}


def _only_read(graph_def: Any, names: set[str]) -> set[str]:
    users = _users(graph_def, names)
    return {name for name in names if all(user.op in {*_READS, "Identity"} for user in users[name])}


def _refuse_writes(graph_def: Any, captured: Mapping[str, Any]) -> None:
    variables = {name for name, value in captured.items() if is_variable(value)}
    for name, users in _users(graph_def, variables).items():
        writes = [user for user in users if user.op.startswith(("Assign", "ResourceScatter"))]
        if writes:
            raise ConversionError(
                f"the model writes to its variable {_name_of(captured[name], name)!r} when it "
                f"runs ({writes[0].op}), but an ONNX model has no state; make the state an "
                "input and an output of the model"
            )


def _let_stand_in(graph_def: Any, variables: Mapping[str, Any]) -> None:
    """Turn the resources of ``variables`` and the nodes that read them into tensors, in place."""
    for name, users in _users(graph_def, variables).items():
        dtype = variables[name].dtype.as_datatype_enum
        for user in users:
            _read_tensor(graph_def, user, dtype)
    for node in graph_def.node:
        if node.name in variables:
            variable = variables[node.name]
            node.ClearField("attr")
            node.attr["dtype"].type = variable.dtype.as_datatype_enum
            node.attr["shape"].shape.CopyFrom(variable.shape.as_proto())


def _read_tensor(graph_def: Any, node: Any, dtype: int) -> None:
    """Make a node that reads a variable read a tensor of its values instead, in place."""
    old = {name: attribute.__deepcopy__() for name, attribute in node.attr.items()}
    batch_dims = old["batch_dims"].i if "batch_dims" in old else 0
    if node.op in {"Identity", "ReadVariableOp"}:
        node.op = "Identity"
        node.ClearField("attr")
        node.attr["T"].type = dtype
    elif node.op == "ResourceGather":
        axis = graph_def.node.add(op="Const", name=f"{node.name}/kilnx_axis")
        axis.attr["dtype"].type = 3  # int32
        axis.attr["value"].tensor.CopyFrom(_scalar(batch_dims))
        node.op = "GatherV2"
        node.input.insert(2, axis.name)
        node.ClearField("attr")
        node.attr["Tparams"].type = dtype
        node.attr["Tindices"].CopyFrom(old["Tindices"])
        node.attr["Taxis"].type = 3
        node.attr["batch_dims"].i = batch_dims
    else:
        node.op = "GatherNd"
        node.ClearField("attr")
        node.attr["Tparams"].type = dtype
        node.attr["Tindices"].CopyFrom(old["Tindices"])


def _scalar(value: int) -> Any:
    import tensorflow as tf

    return tf.make_tensor_proto(value, tf.int32)
