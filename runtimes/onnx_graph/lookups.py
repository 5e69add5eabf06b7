"""Which inputs of a graph are indices: their values pick rows of a table and mean nothing else."""

from __future__ import annotations

import onnx_ir as ir

from runtimes.onnx_graph.values import all_nodes, is_constant, is_op

# What leaves an index an index: casts, other shapes, and the ways to wrap, clip or shift it.
_KEEP = (
    *("Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose", "Expand"),
    *("Slice", "Split", "Concat", "Where", "Add", "Sub", "Mod", "Clip", "Min", "Max", "Floor"),
    *("Trunc", "Round"),
)


def looked_up_inputs(model: ir.Model) -> frozenset[str]:
    """The names of the inputs that are, maybe cast or shaped, the indices of a look-up."""
    found: set[str] = set()
    seen: set[int] = set()
    waiting = [
        node.inputs[1]
        for node in all_nodes(model)
        if is_op(node, "Gather", "GatherND") and _is_table(node.inputs[0])
    ]
    waiting += [node.inputs[0] for node in all_nodes(model) if is_op(node, "OneHot")]
    while waiting:
        value = waiting.pop()
        if value is None or id(value) in seen:
            continue
        seen.add(id(value))
        producer = value.producer()
        if producer is None:
            if value.is_graph_input() and value.name is not None:
                found.add(value.name)
        elif is_op(producer, *_KEEP):
            first = 1 if producer.op_type == "Where" else 0  # the condition is no index
            most = 1 if producer.op_type in _ONE_INPUT else len(producer.inputs)
            waiting += producer.inputs[first : max(first + 1, most)]
    return frozenset(found)


def _is_table(value: ir.Value | None) -> bool:
    """Whether nothing that is computed from samples is looked up in."""
    producer = None if value is None else value.producer()
    if producer is None:
        return is_constant(value)
    return all(is_constant(one) for one in producer.inputs if one is not None)


# Their further inputs are shapes, axes and places.
_ONE_INPUT = frozenset({"Reshape", "Squeeze", "Unsqueeze", "Expand", "Slice", "Split", "Clip"})
