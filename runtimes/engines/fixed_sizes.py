"""A graph with all input sizes fixed, for engines that plan for one set of sizes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import onnx_ir as ir

from runtimes.atomic_files import scratch_folder
from runtimes.base import Feed, TensorSpec
from runtimes.onnx_files.load_save import weight_bytes
from runtimes.onnx_graph.subgraphs import needs

Sizes = tuple[tuple[int, ...], ...]
"""The shape of each input, in the model's order."""

# Beyond this, weights are written into a second file: protobuf holds 2 GiB at most.
_ONE_FILE_BYTES = 1_500_000_000


def sizes_of(feed: Feed, inputs: Sequence[TensorSpec]) -> Sizes:
    """The shapes of a feed that was checked."""
    return tuple(tuple(feed[spec.name].shape) for spec in inputs)


def smallest_sizes(inputs: Sequence[TensorSpec]) -> Sizes:
    """Each input's shape, with 1 where any size is accepted."""
    return tuple(
        tuple(dim if isinstance(dim, int) else 1 for dim in spec.shape or ()) for spec in inputs
    )


def only_batch_is_free(inputs: Sequence[TensorSpec]) -> bool:
    """Whether all sizes but those of the first axes are known."""
    return all(
        spec.shape is not None and all(isinstance(dim, int) for dim in spec.shape[1:])
        for spec in inputs
    )


def with_sizes(model: ir.Model, sizes: Sizes) -> ir.Model:
    """A copy (weights shared) whose inputs have ``sizes``.

    Inputs with a default become constants. What the file says of other shapes is dropped, for it
    names dimensions that are numbers now; an output that has no type is taken for a float.
    """
    copy = model.clone()
    graph = copy.graph
    fed = [value for value in graph.inputs if value.name not in graph.initializers]
    graph.inputs.clear()
    graph.inputs.extend(fed)
    for value, shape in zip(fed, sizes, strict=True):
        value.shape = ir.Shape(shape)
    for node in ir.traversal.RecursiveGraphIterator(graph):
        for value in node.outputs:
            value.shape = None
    give_outputs_a_type(copy)
    return copy


def first_nodes(model: ir.Model, count: int) -> ir.Model:
    """A model of the first ``count`` nodes of ``model``, whose outputs nobody of them reads."""
    graph = model.graph
    kept = list(graph)[:count]
    read = {id(value): value for node in kept for value in needs(node)}
    outputs = [v for node in kept for v in node.outputs if v.name and id(v) not in read]
    view = ir.GraphView(
        list(graph.inputs),
        outputs,
        nodes=kept,
        initializers=[value for value in read.values() if value.is_initializer()],
        opset_imports=graph.opset_imports,
        name=graph.name,
    )
    functions = [function.clone() for function in model.functions.values()]
    copy = ir.Model(view.clone(), ir_version=model.ir_version, functions=functions)
    give_outputs_a_type(copy)
    return copy


def give_outputs_a_type(model: ir.Model) -> None:
    """Say a shape and a type of each output that a node makes, which some readers insist on."""
    for value in model.graph.outputs:
        if value.producer() is not None:
            value.shape = ir.Shape([])
            value.type = value.type or ir.TensorType(ir.DataType.FLOAT)


@contextmanager
def in_a_file(model: ir.Model) -> Iterator[Path]:
    """Yield the path of a file that holds ``model`` as long as the block runs."""
    with scratch_folder() as folder:
        path = folder / "model.onnx"
        large = weight_bytes(model) >= _ONE_FILE_BYTES
        ir.save(model, path, format="protobuf", external_data="model.data" if large else None)
        yield path
