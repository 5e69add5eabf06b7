"""Lists that a loop writes otherwise than from their start, as ``tf.scan`` does.

A loop of ONNX appends what each step computes. Where the place that is written falls by one from
step to step (``reverse=True``), that is the list in reverse; and an element that was written before
the loop (``tf.scan`` without an initializer) comes before what the loop appends.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_LOOPS = ("While", "StatelessWhile")
_SAME = ("Identity", "Cast")
_INT32 = 3


def order_lists(graph_def: Any) -> None:
    """Put, in place, what is stacked of lists that loops write in the order of the lists."""
    bodies = {function.signature.name: function for function in graph_def.library.function}
    nodes = {node.name: node for node in graph_def.node}
    falling: set[str] = set()
    first: dict[str, str] = {}
    for loop in graph_def.node:
        if loop.op in _LOOPS:
            body = bodies[loop.attr["body"].func.name]
            falling |= {f"{loop.name}:{place}" for place in _falling(body)}
            first |= _written_before(loop, nodes)
    for stack in list(graph_def.node):
        if stack.op != "TensorListStack":
            continue
        source = str(stack.input[0])
        ordered = _reversed(graph_def.node, stack) if source in falling else stack
        if source in first:
            _join(graph_def.node, ordered, first[source], last=source in falling)


def _written_before(loop: Any, nodes: dict[str, Any]) -> dict[str, str]:
    """The element of each list of a loop that was written before it, which is taken out."""
    found = {}
    for place, tensor in enumerate(loop.input):
        item = nodes.get(tensor)
        if item is None or item.op != "TensorListSetItem":
            continue
        reserve = nodes.get(item.input[0])
        if reserve is not None and reserve.op == "TensorListReserve":
            found[f"{loop.name}:{place}"] = str(item.input[2])
            loop.input[place] = reserve.name
    return found


def _falling(body: Any) -> Iterator[int]:
    """The places, among a loop's variables, of the lists that it writes from their end."""
    nodes = {node.name: node for node in body.node_def}
    arguments = [argument.name for argument in body.signature.input_arg]
    results = [body.ret[result.name] for result in body.signature.output_arg]
    for node in body.node_def:
        if node.op != "TensorListSetItem":
            continue
        index = _source(node.input[1], nodes)
        if index in arguments and _falls(results[arguments.index(index)], index, nodes):
            written = [place for place, result in enumerate(results) if _is_of(result, node, nodes)]
            yield from written


def _source(tensor: str, nodes: dict[str, Any]) -> str:
    """The argument or tensor that a tensor is a copy of."""
    while (node := nodes.get(tensor.split(":", maxsplit=1)[0])) is not None and node.op in _SAME:
        tensor = node.input[0]
    return tensor


def _is_of(tensor: str, wanted: Any, nodes: dict[str, Any]) -> bool:
    return _source(tensor, nodes).split(":")[0] == str(wanted.name)


def _falls(tensor: str, argument: str, nodes: dict[str, Any]) -> bool:
    """Whether a tensor is ``argument`` less one."""
    node = nodes.get(_source(tensor, nodes).split(":")[0])
    if node is None or node.op not in ("Sub", "Add", "AddV2"):
        return False
    step = 1 if node.op == "Sub" else -1
    operands = [_source(operand, nodes) for operand in node.input[:2]]
    others = [operand for operand in operands if operand != argument]
    return len(others) == 1 and _number(others[0], nodes) == step


def _number(tensor: str, nodes: dict[str, Any]) -> float | None:
    from tensorflow.python.framework.tensor_util import MakeNdarray

    node = nodes.get(tensor.split(":", maxsplit=1)[0])
    if node is None or node.op != "Const":
        return None
    values = MakeNdarray(node.attr["value"].tensor)
    return float(values) if values.ndim == 0 else None


def _reversed(nodes: Any, stack: Any) -> Any:
    reverse = _after(nodes, stack, "ReverseV2", "as_computed")
    axes = nodes.add(name=f"{reverse.name}/reversed", op="ExpandDims")
    axes.input.extend([_axis(nodes, axes.name)] * 2)
    axes.attr["T"].type = axes.attr["Tdim"].type = _INT32
    reverse.input.append(axes.name)
    reverse.attr["Tidx"].type = _INT32
    return reverse


def _join(nodes: Any, stack: Any, element: str, *, last: bool) -> None:
    """Put an element before what is stacked, or after it."""
    join = _after(nodes, stack, "ConcatV2", "of_the_loop")
    axis = _axis(nodes, join.name)
    row = nodes.add(name=f"{join.name}/row", op="ExpandDims", input=[element, axis])
    row.attr["T"].type, row.attr["Tdim"].type = join.attr["T"].type, _INT32
    join.input.append(row.name)
    if not last:
        join.input[:] = list(reversed(join.input))
    join.input.append(axis)
    join.attr["N"].i, join.attr["Tidx"].type = 2, _INT32


def _after(nodes: Any, node: Any, op: str, renamed: str) -> Any:
    """A new node that takes the name, and with it the consumers, of the node that it reads."""
    name = str(node.name)
    dtype = node.attr["T" if node.op == "ReverseV2" else "element_dtype"].type
    node.name = f"{name}/{renamed}"
    new = nodes.add(name=name, op=op, input=[node.name])
    new.attr["T"].type = dtype
    return new


def _axis(nodes: Any, name: str) -> str:
    import tensorflow as tf

    axis = nodes.add(name=f"{name}/axis", op="Const")
    axis.attr["dtype"].type = _INT32
    axis.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(0, tf.int32))
    return str(axis.name)
