"""The interface of the converted graph: attach its weights, name its inputs and outputs."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from converter.export.tracing.trace import TracedModel
from runtimes.errors import ConversionError
from runtimes.keras_models.signature import KerasSignature, named_dims


def interim_names(kind: str, tensors: Sequence[str]) -> dict[str, str]:
    """Interface names for the conversion, which no layer's operator can have."""
    return {tensor: f"kilnx:{kind}:{i}" for i, tensor in enumerate(tensors)}


def name_interface(
    model: ir.Model, signature: KerasSignature, traced: TracedModel, *, name: str
) -> None:
    """Attach the weights and give the interface its Keras names and shapes, in place."""
    graph = model.graph
    by_name = {value.name: value for value in graph.inputs}
    for stand_in, matrix in traced.matrices.items():
        if stand_in in by_name:
            by_name[stand_in].shape = ir.Shape(matrix.codes.shape)
    for stand_in, (path, values) in traced.weights.items():
        value = by_name.get(stand_in)
        if value is None:
            continue
        graph.inputs.remove(value)
        value.name = path
        value.const_value = ir.tensor(values, name=value.name)
        value.dtype = value.const_value.dtype
        value.shape = ir.Shape(values.shape)
        graph.register_initializer(value)
    inputs = [by_name[interim] for interim in interim_names("input", traced.inputs).values()]
    known = {*(value.name for value in inputs), *traced.matrices}
    extra = [value.name for value in graph.inputs if value.name not in known]
    if extra:
        raise ConversionError(
            f"the exported graph has inputs that the Keras model does not have: {extra}"
        )
    own = [spec.name for spec in signature.inputs]
    _rename(graph, inputs, [*own, *(state.name for state in traced.states)])
    shapes = [spec.shape for spec in signature.inputs]
    shapes += [state.values.shape for state in traced.states]
    for value, shape in zip(inputs, shapes, strict=True):
        if shape is not None:
            value.shape = ir.Shape(shape)
    _rename(graph, list(graph.outputs), list(traced.output_names))
    batches = {spec.shape[0] for spec in signature.inputs if spec.shape}
    for value, shape in zip(graph.outputs, traced.output_shapes, strict=True):
        if shape is not None:
            value.shape = ir.Shape(_output_dims(str(value.name), shape, batches))
    graph.name = name
    model.producer_name = "kilnx"
    model.producer_version = None
    model.doc_string = None


def set_defaults(model: ir.Model, traced: TracedModel) -> None:
    """Give the state inputs the model's own state as a default, if a caller feeds none.

    This is done last, because a pass could mistake a default for a constant.
    """
    by_name = {value.name: value for value in model.graph.inputs}
    for state in traced.states:
        value = by_name[state.name]
        value.const_value = ir.tensor(state.values, name=state.name)
        model.graph.register_initializer(value)


def _rename(graph: ir.Graph, values: list[ir.Value], names: list[str]) -> None:
    """Give ``values`` their names; any other value with one of them is renamed."""
    wanted = dict(zip(names, values, strict=True))
    for node in ir.traversal.RecursiveGraphIterator(graph):
        for value in node.outputs:
            if value.name in wanted and wanted[value.name] is not value:
                value.name = f"{value.name}__inner"
    for name, value in list(graph.initializers.items()):
        if name in wanted:
            value.name = f"{name}__inner"
    for name, value in wanted.items():
        value.name = name


def _output_dims(
    output: str, shape: tuple[int | None, ...], batches: set[int | str | None]
) -> list[int | str]:
    """Names of an output's dynamic dimensions: the batch where possible, otherwise its own."""
    dims: list[int | str] = []
    for axis, dim in enumerate(shape):
        if dim is not None:
            dims.append(dim)
        elif axis == 0 and batches == {"batch"}:
            dims.append("batch")
        else:
            dims.append(f"{_identifier(output)}_{named_dims(shape)[axis]}")
    return dims


def _identifier(text: str) -> str:
    return "".join(c if c.isalnum() or c == "_" else "_" for c in text)
