"""ONNX nodes in the place of one TensorFlow operator, written on tf2onnx's graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

Shape = list[int] | None
"""A shape as tf2onnx has it: -1 for a dynamic dimension, ``None`` where the rank is unknown."""


_INT64, _BOOL = 7, 9

LoopBody = Callable[["Builder", str, list[str]], Sequence[str]]
ScanBody = Callable[["Builder", list[str], str], tuple[Sequence[str], str]]


class Builder:
    """Writes nodes named after ``node`` into ``ctx``, tf2onnx's graph of tensors by name.

    The name of a node is how its Keras layer is found later, so all that replaces an operator
    is written through one builder.
    """

    def __init__(self, ctx: Any, node: Any) -> None:
        self._ctx = ctx
        self._node = node

    @property
    def opset(self) -> int:
        """Version of the standard operators that is being written."""
        return int(self._ctx.opset)

    def op(self, op_type: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output and return the name of that output.

        An empty name stands for an optional input that is left out.
        """
        return self.ops(op_type, 1, *inputs, **attributes)[0]

    def ops(self, op_type: str, count: int, *inputs: str, **attributes: Any) -> list[str]:
        """Add a node with ``count`` outputs and return their names."""
        node = self._ctx.make_node(
            op_type,
            list(inputs),
            attr=attributes,
            output_count=count,
            name=self._name(op_type),
        )
        return list(node.output)

    def ml_op(self, op_type: str, tensor: str, dtype: int, **attributes: Any) -> str:
        """Add a node of the ai.onnx.ml domain that gives each element another of ``dtype``."""
        node = self._ctx.make_node(
            op_type,
            [tensor],
            attr=attributes,
            name=self._name(op_type),
            domain="ai.onnx.ml",
            shapes=[self._ctx.get_shape(tensor)],
            dtypes=[dtype],
        )
        return str(node.output[0])

    def constant(self, values: Any, dtype: Any = np.int64) -> str:
        """Add a constant and return its name; integers unless ``dtype`` says otherwise."""
        array = np.asarray(values, dtype=dtype)
        return str(self._ctx.make_const(self._name("constant"), array).output[0])

    def scalar(self, value: float, like: str) -> str:
        """A constant scalar of the element type of the tensor ``like``."""
        return self.constant(value, self.numpy_type(like))

    def filled(self, value: float, shape: Sequence[int], like: str) -> str:
        """A constant of one value everywhere, of the element type of the tensor ``like``."""
        return self.constant(np.full(shape, value), self.numpy_type(like))

    def unsqueeze(self, tensor: str, *axes: int) -> str:
        """Insert dimensions of size one."""
        return self.op("Unsqueeze", tensor, self.constant(axes))

    def squeeze(self, tensor: str, *axes: int) -> str:
        """Take out dimensions of size one."""
        return self.op("Squeeze", tensor, self.constant(axes))

    def sizes(self, tensor: str, begin: int, end: int = np.iinfo(np.int64).max) -> str:
        """Dimensions ``begin`` up to ``end`` of a tensor at run time, as a vector."""
        shape = self.op("Shape", tensor)
        return self.op("Slice", shape, self.constant([begin]), self.constant([end]))

    def reshape(self, tensor: str, shape: Sequence[int]) -> str:
        """Reshape; 0 keeps a dimension of the input, one -1 takes what is left."""
        return self.op("Reshape", tensor, self.constant(shape))

    def reduce(
        self, op_type: str, tensor: str, axes: Sequence[int], *, keepdims: bool = False
    ) -> str:
        """Reduce over ``axes``, an input or an attribute depending on operator and opset."""
        keep, axes = int(keepdims), list(axes)
        if op_type == "ReduceSum" or self.opset >= 18:
            return self.op(op_type, tensor, self.constant(axes), keepdims=keep)
        return self.op(op_type, tensor, axes=axes, keepdims=keep)

    def shape(self, tensor: str) -> Shape:
        """Shape of a tensor with -1 for dynamic dimensions."""
        shape = self._ctx.get_shape(tensor)
        return None if shape is None else [int(dim) for dim in shape]

    def set_shape(self, tensor: str, shape: Sequence[int]) -> None:
        """Tell the shape of a tensor where nothing else does."""
        self._ctx.set_shape(tensor, list(shape))

    def dtype(self, tensor: str) -> int:
        """ONNX element type of a tensor."""
        return int(self._ctx.get_dtype(tensor))

    def mark_pairs(self, tensors: Iterable[str]) -> None:
        """Remember real tensors that are complex numbers to TensorFlow."""
        known: set[str] = self._ctx.__dict__.setdefault("kilnx_pairs", set())
        known.update(tensors)

    def numpy_type(self, tensor: str) -> Any:
        """NumPy's element type of a tensor."""
        return ir.DataType(self.dtype(tensor)).numpy()

    def is_pair(self, tensor: str) -> bool:
        """Whether a real tensor is a complex one to TensorFlow."""
        graph = self._ctx
        while graph is not None:
            if tensor in graph.__dict__.get("kilnx_pairs", ()):
                return True
            graph = graph.parent_graph
        return False

    def consumers(self, tensor: str) -> list[Any]:
        """The nodes that take a tensor; those not converted yet are TensorFlow's."""
        return list(self._ctx.find_output_consumers(tensor))

    def is_output(self, tensor: str) -> bool:
        """Whether a tensor is an output of the graph."""
        return tensor in self._ctx.outputs

    def again(
        self,
        inputs: Sequence[str],
        types: Sequence[tuple[int, Shape]],
        convert: Callable[[Any, Any], None],
    ) -> list[str]:
        """Convert the operator once more, on other inputs; the names of its outputs.

        ``types`` are element types and shapes of the outputs, ``convert(ctx, node)`` converts.
        """
        node = self._ctx.make_node(
            self._node.type,
            list(inputs),
            attr=dict(self._node.attr),
            name=self._name(self._node.type),
            output_count=len(types),
            shapes=[shape for _, shape in types],
            dtypes=[dtype for dtype, _ in types],
            skip_conversion=False,
        )
        # What converts may put other tensors in the place of the outputs: these follow.
        ends = [
            self._ctx.make_node("Identity", [output], name=self._name("end"))
            for output in node.output
        ]
        convert(self._ctx, node)
        names = [str(end.input[0]) for end in ends]
        for end in ends:
            self._ctx.remove_node(end.name)
        return names

    def replace_input(self, index: int, tensor: str) -> None:
        """Let the operator take ``tensor`` as its input number ``index``."""
        self._ctx.replace_input(self._node, self._node.input[index], tensor, index)

    def replace(self, outputs: Sequence[str], shapes: Sequence[Shape]) -> None:
        """Let ``outputs`` stand for the outputs of the operator, and remove the operator."""
        names = list(self._node.output)
        for old, new, shape in zip(names, outputs, shapes, strict=True):
            if shape is not None:
                self._ctx.set_shape(new, shape)
            self._ctx.replace_all_inputs(old, new)
        self._ctx.remove_node(self._node.name)
        for old, new, shape in zip(names, outputs, shapes, strict=True):
            if old in self._ctx.outputs and old != new:
                # The body of a branch or loop names its outputs after its operators.
                self._ctx.make_node(
                    "Identity",
                    [new],
                    outputs=[old],
                    name=self._name("Identity"),
                    shapes=[self.shape(new) if shape is None else shape],
                    dtypes=[self.dtype(new)],
                )

    def loop(self, count: str, state: Sequence[str], step: LoopBody) -> list[str]:
        """Run ``step`` ``count`` times on ``state``, tensors that keep their shapes; the last ones.

        ``step(build, number, state)`` writes one iteration with the builder that it is given;
        ``number`` is an int64 scalar that counts from zero.
        """
        types = [(self.dtype(each), self.shape(each)) for each in state]
        inner, (number, goes_on, *before) = self._body([(_INT64, []), (_BOOL, []), *types])
        after = [
            inner.op("Identity", tensor) for tensor in (goes_on, *step(inner, number, list(before)))
        ]
        inner._outputs(after, [(_BOOL, []), *types])
        return self._with_body("Loop", [count, "", *state], inner, types)

    def scan(
        self, state: Sequence[str], sequence: str, step: ScanBody, *, axis: int, reverse: bool
    ) -> str:
        """Walk ``sequence`` along ``axis`` and return what ``step`` gives, joined on that axis.

        ``step(build, state, element)`` returns the next state and an output shaped like the
        element; ``reverse`` walks from the end, and the output keeps the order of the input.
        """
        types = [(self.dtype(each), self.shape(each)) for each in state]
        shape = self.shape(sequence) or []
        element = self.dtype(sequence), [*shape[:axis], *shape[axis + 1 :]]
        inner, (*before, one) = self._body([*types, element])
        following, output = step(inner, list(before), one)
        after = [inner.op("Identity", tensor) for tensor in (*following, output)]
        inner._outputs(after, [*types, element])
        return self._with_body(
            "Scan",
            [*state, sequence],
            inner,
            [*types, (self.dtype(sequence), shape)],
            num_scan_inputs=1,
            scan_input_axes=[axis],
            scan_output_axes=[axis],
            scan_input_directions=[int(reverse)],
            scan_output_directions=[int(reverse)],
        )[-1]

    def _body(self, types: Sequence[tuple[int, Shape]]) -> tuple[Builder, list[str]]:
        """An empty graph inside this one and the names of its inputs."""
        graph = self._ctx.create_new_graph_with_same_config()
        graph.parent_graph = self._ctx
        names = [self._name("body") for _ in types]
        for name, (dtype, shape) in zip(names, types, strict=True):
            graph.add_graph_input(name, dtype, shape)
        return Builder(graph, self._node), names

    def _outputs(self, names: Sequence[str], types: Sequence[tuple[int, Shape]]) -> None:
        for name, (dtype, shape) in zip(names, types, strict=True):
            self._ctx.add_graph_output(name, dtype, shape)

    def _with_body(
        self,
        op_type: str,
        inputs: Sequence[str],
        body: Builder,
        types: Sequence[tuple[int, Shape]],
        **attributes: Any,
    ) -> list[str]:
        node = self._ctx.make_node(
            op_type,
            list(inputs),
            attr=attributes,
            name=self._name(op_type),
            output_count=len(types),
            shapes=[shape for _, shape in types],
            dtypes=[dtype for dtype, _ in types],
            branches={"body": body._ctx},
        )
        return list(node.output)

    def _name(self, what: str) -> str:
        """A name that nothing in the graph has, in the scope of the operator."""
        own = str(self._node.name)
        number = str(self._node.child_name())[len(own) :]
        scope, slash, _ = own.rpartition("/")
        return f"{scope}{slash}{what}{number}"
