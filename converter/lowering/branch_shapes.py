"""What the branches of a condition are given, as tf2onnx is to know it.

tf2onnx takes the inputs of an If for those of its branches, the condition among them: every shape
is then that of the input before it. And grappler marks what it hands to a branch as of unknown
shape. A convolution inside would not know its kernel.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_CONDITIONS = ("If", "StatelessIf")
_BRANCHES = ("then_branch", "else_branch")


@contextmanager
def shapes_of_branches(tf_loader: Any) -> Iterator[None]:
    """While active, tf2onnx reads the functions of a graph with the right shapes.

    ``tf_loader`` is the module of tf2onnx that does so.
    """
    original = tf_loader.tflist_to_onnx

    def corrected(graph: Any, *args: Any, **kwargs: Any) -> Any:
        *found, functions = original(graph, *args, **kwargs)
        return *found, functions | _given(graph)

    tf_loader.tflist_to_onnx = corrected
    try:
        yield
    finally:
        tf_loader.tflist_to_onnx = original


def _given(graph: Any) -> dict[str, list[Any]]:
    """The shapes of what each branch is given, by the name of its function."""
    return {
        operator.get_attr(branch).name: [tensor.get_shape() for tensor in operator.inputs[1:]]
        for operator in graph.get_operations()
        if operator.type in _CONDITIONS
        for branch in _BRANCHES
    }


def forget_unknown_shapes(graph_def: Any) -> None:
    """Drop from the arguments of branches that nothing is known of them, in place.

    What a branch is given has the shape that the If is given. In a loop that would be wrong: a
    value may grow from turn to turn.
    """
    functions = graph_def.library.function
    nodes = [*graph_def.node, *(node for function in functions for node in function.node_def)]
    branches = {
        node.attr[branch].func.name
        for node in nodes
        if node.op in _CONDITIONS
        for branch in _BRANCHES
    }
    for function in functions:
        if function.signature.name in branches:
            for argument in function.arg_attr.values():
                if _is_unknown(argument.attr):
                    argument.attr.pop("_output_shapes")


def _is_unknown(attributes: Any) -> bool:
    if "_output_shapes" not in attributes:
        return False
    return any(shape.unknown_rank for shape in attributes["_output_shapes"].list.shape)
