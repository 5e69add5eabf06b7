"""Loops of TensorFlow, which tf2onnx writes as long as their lists are written in order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from converter.lowering.builder import Builder
from converter.lowering.operators.base import UnsupportedLowering


def while_loop(build: Builder, node: Any) -> Any:
    """While: what a list gathers becomes the joined outputs of a Loop, in order of the steps.

    The steps must write it from the first element on, and not read what they have written.
    """
    from tf2onnx.tf_loader import find_function

    body = find_function(node.get_attr_str("body"))
    inputs, outputs = list(body.input_names), list(body.outputs)
    for output in outputs:
        written = body.get_node_by_output(output)
        while written is not None and written.type == "Identity":
            written = written.inputs[0]
        if written is None or written.type != "TensorListSetItem":
            continue
        if written.input[0] not in inputs:
            raise UnsupportedLowering(node, "one of its steps writes a list more than once")
        if body.find_output_consumers(written.input[0]) != [written]:
            raise UnsupportedLowering(node, "its steps read a list that they write")
        if not _counts_steps(node, body, written.input[1], inputs, outputs):
            raise UnsupportedLowering(
                node, "its steps write a list in another order than one after the other"
            )
    return NotImplemented


def _counts_steps(
    node: Any, body: Any, index: str, inputs: Sequence[str], outputs: Sequence[str]
) -> bool:
    """Whether a loop variable starts from zero and goes up by one."""
    source = body.get_node_by_output(index)
    while source is not None and source.type in ("Cast", "Identity"):
        index, source = source.input[0], source.inputs[0]
    if index not in inputs:
        return False
    place = inputs.index(index)
    following = body.get_node_by_output(outputs[place])
    while following.type == "Identity":
        following = following.inputs[0]
    if not node.inputs[place].is_const() or following.type not in ("Add", "AddV2"):
        return False
    start = node.inputs[place].get_tensor_value(as_list=False)
    steps = [each.get_tensor_value(as_list=False) for each in following.inputs if each.is_const()]
    return bool(start == 0 and index in following.input and any(step == 1 for step in steps))
