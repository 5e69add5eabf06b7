"""Replace shape arithmetic by one constant where shapes are known.

tf2onnx writes Flatten as Shape, Cast, Slice, Concat, Cast, Reshape; if everything but the batch
is known, that is a Reshape to (0, 128), where 0 means "as in the input".
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from converter.passes.shapes.shape_data import Contents, Dimension, Element, ShapeData, dimensions
from runtimes.onnx_graph.rewrite import Refuse, RewritePass
from runtimes.onnx_graph.values import (
    add_initializer,
    all_nodes,
    drop_if_unused,
    is_constant,
    is_op,
    refine_shape,
    small_ints,
)

_DTYPES = {ir.DataType.INT64: np.int64, ir.DataType.INT32: np.int32}


class FoldStaticShapes(RewritePass):
    """Turn integers that follow from known shapes into constants, including Reshape targets.

    Needs shapes: run ``InferShapes`` before. If one dimension of a Reshape's target is known only
    at run time, it becomes 0 (the input's dimension at that position) or -1 (what is left). With
    two such dimensions that no 0 can copy, the Reshape stays.
    """

    def rewrite(self, model: ir.Model, refuse: Refuse) -> bool:
        """Fold in the main graph and its subgraphs."""
        data = ShapeData()
        modified = False
        for node in all_nodes(model):
            if is_op(node, "Reshape") and len(node.inputs) == 2:
                modified = _fix_target(node, data, refuse) or _copy_dimension(node) or modified
            elif len(node.outputs) == 1 and _is_computed(node):
                contents = data.contents(node.outputs[0])
                modified = _make_constant(node, contents) or modified
        return modified


def _is_computed(node: ir.Node) -> bool:
    """Whether ``node`` computes an integer tensor that nodes of the graph use."""
    output = node.outputs[0]
    return (
        output.dtype in _DTYPES
        and bool(output.uses())
        and not output.is_graph_output()
        and any(value is not None and not is_constant(value) for value in node.inputs)
    )


def _make_constant(node: ir.Node, contents: Contents | None) -> bool:
    numbers = contents.numbers() if contents is not None else None
    output, graph = node.outputs[0], node.graph
    if contents is None or numbers is None or not isinstance(graph, ir.Graph):
        return False
    assert output.dtype is not None
    array = np.array(numbers, _DTYPES[output.dtype]).reshape(() if contents.scalar else (-1,))
    name, output.name = output.name, None
    output.replace_all_uses_with(add_initializer(graph, name or "shape", array))
    graph.remove(node, safe=True)
    return True


def _fix_target(node: ir.Node, data: ShapeData, refuse: Refuse) -> bool:
    source, target = node.inputs
    graph = node.graph
    if source is None or target is None or is_constant(target) or not isinstance(graph, ir.Graph):
        return False
    contents = data.contents(target)
    wanted: Sequence[Element] | None = contents.elements if contents is not None else None
    if wanted is None or wanted.count(None) > 1:
        wanted = dimensions(node.outputs[0])
    if wanted is None or node.attributes.get_int("allowzero", 0) != 0:
        return False
    numbers = reshape_target(dimensions(source), wanted)
    if numbers is None:
        refuse(node, "its target has two dimensions that are known only at run time")
        return False
    _remember_names(node.outputs[0], wanted)
    name = f"{node.outputs[0].name}_shape"
    node.replace_input_with(1, add_initializer(graph, name, np.array(numbers, np.int64)))
    drop_if_unused([target])
    return True


def _remember_names(output: ir.Value, wanted: Sequence[Element]) -> None:
    """Keep on ``output`` the dimension names of the target, which a constant cannot hold."""
    if -1 in wanted:
        return
    dims = [
        e if isinstance(e, int) else e.name if e is not None and e.has_name else None
        for e in wanted
    ]
    refine_shape(output, ir.Shape(dims))


def _copy_dimension(node: ir.Node) -> bool:
    """Replace the -1 of a constant target by 0 where it can only mean the input's dimension.

    Shape inference then keeps the name of the dimension.
    """
    source, target = node.inputs
    numbers = small_ints(target)
    dims = dimensions(source) if source is not None else None
    if numbers is None or dims is None or node.attributes.get_int("allowzero", 0) != 0:
        return False
    open_places = [place for place, dim in enumerate(dims) if not isinstance(dim, int)]
    if len(open_places) != 1 or numbers.count(-1) != 1 or 0 in numbers:
        return False
    place = open_places[0]
    static = math.prod(dim for dim in dims if isinstance(dim, int))
    if numbers.index(-1) != place or static == 0 or static != -math.prod(numbers):
        return False
    new = [0 if number == -1 else number for number in numbers]
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    name = f"{node.outputs[0].name}_shape"
    node.replace_input_with(1, add_initializer(graph, name, np.array(new, np.int64)))
    drop_if_unused([target])
    return True


def reshape_target(
    source: Sequence[Element] | None, wanted: Sequence[Element]
) -> tuple[int, ...] | None:
    """The constant that reshapes ``source`` to ``wanted``, or ``None`` if no constant can.

    A dimension that is not a number is written as 0 if the source has it at the same position, and
    as -1 otherwise, which is possible only once.
    """
    result: list[int] = []
    for place, element in enumerate(wanted):
        if isinstance(element, int):
            if element == 0 or element < -1:
                return None
            result.append(element)
        elif _copied(source, place, element):
            result.append(0)
        else:
            result.append(-1)
    return tuple(result) if result.count(-1) <= 1 else None


def _copied(source: Sequence[Element] | None, place: int, element: Element) -> bool:
    return (
        source is not None
        and place < len(source)
        and isinstance(element, Dimension)
        and source[place] == element
    )
