"""What kilnx recognises in a graph: INT8 operators, tied weights, copies, weights held as codes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import onnx_ir as ir

from runtimes.onnx_files.tensor_bytes import byte_chunks, digest_of
from runtimes.onnx_graph.fold_views import VIEW_KEY
from runtimes.onnx_graph.quantized import is_quantized_operator
from runtimes.onnx_graph.values import all_nodes, constant, is_op

# Shapes, axes and scalars are shared and repeated all over a graph, and mean nothing.
_LEAST_BYTES = 1024

_MULTIPLYING = ("Conv", "ConvTranspose", "Gemm", "MatMul", "Gather", "LSTM", "GRU", "RNN")
# Operators whose weights alone are stored in INT8 or less.
_WEIGHTS_ONLY = ("MatMulNBits", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "MatMulInteger")
_HALVES = {ir.DataType.FLOAT16: "float16", ir.DataType.BFLOAT16: "bfloat16"}


def recognize(model: ir.Model, run: Mapping[str, int] | None) -> tuple[str, ...]:
    """One sentence for everything in ``model`` that compression meets or makes.

    ``run``: how many operators of each type ONNX Runtime runs, if it could be asked.
    """
    weights = list(_weights(model))
    found = (
        _int8(model, run),
        _weights_only(model),
        _tied(weights),
        _copies(weights),
        _views(model),
        _halves(weights),
        _external(weights),
    )
    return tuple(text for text in found if text)


def _weights(model: ir.Model) -> Iterator[ir.Value]:
    for graph in model.graphs():
        for value in graph.initializers.values():
            tensor = value.const_value
            if tensor is not None and tensor.nbytes >= _LEAST_BYTES:
                yield value


def _int8(model: ir.Model, run: Mapping[str, int] | None) -> str:
    """How much runs in INT8; what is only dequantized is not counted."""
    pairs = sum(node.op_type == "DequantizeLinear" for node in all_nodes(model))
    if run is None:
        return f"{_many(pairs, 'DequantizeLinear')}: parts are quantized" if pairs else ""
    moves = ("QuantizeLinear", "DequantizeLinear")
    kernels = {
        kind: count
        for name, count in run.items()
        if is_quantized_operator(kind := name.rpartition(".")[2]) and kind not in moves
    }
    if kernels:
        return f"INT8: ONNX Runtime runs {_counted(kernels)} in integers"
    if pairs:
        return f"{_many(pairs, 'DequantizeLinear')}, but ONNX Runtime computes in float behind them"
    return ""


def _weights_only(model: ir.Model) -> str:
    types: Counter[str] = Counter()
    for node in all_nodes(model):
        multiplies = node.op_type in _MULTIPLYING
        if node.op_type in _WEIGHTS_ONLY or (multiplies and _reads_codes(node)):
            types[node.op_type] += 1
    if not types:
        return ""
    return f"weights held as codes, activations in float: {_counted(types)}"


def _reads_codes(node: ir.Node) -> bool:
    """Whether weights come out of a DequantizeLinear and activations do not."""
    dequantized = [
        value.producer()
        for value in node.inputs
        if value is not None and is_op(value.producer(), "DequantizeLinear")
    ]
    stored = [one for one in dequantized if one and constant(one.inputs[0]) is not None]
    return bool(stored) and len(stored) == len(dequantized)


def _tied(weights: Iterable[ir.Value]) -> str:
    shared = [value for value in weights if len({use.node for use in value.uses()}) > 1]
    if not shared:
        return ""
    users = [", ".join(str(use.node.op_type) for use in value.uses()) for value in shared[:3]]
    named = "; ".join(f"{v.name} ({by})" for v, by in zip(shared[:3], users, strict=True))
    more = f" and {len(shared) - 3} more" if len(shared) > 3 else ""
    return f"tied weights, read in several places: {named}{more}"


def _copies(weights: Iterable[ir.Value]) -> str:
    seen = set[tuple[object, ...]]()
    copies, size = 0, 0
    for value in weights:
        tensor = value.const_value
        if tensor is None or tensor.dtype == ir.DataType.STRING:
            continue
        key = tensor.dtype, tuple(tensor.shape), digest_of(byte_chunks(tensor))
        if key in seen:
            copies, size = copies + 1, size + tensor.nbytes
        seen.add(key)
    if not copies:
        return ""
    return (
        f"{_many(copies, 'weight')} equal to others, {size:,} bytes: kilnx dedupe stores them once"
    )


def _views(model: ir.Model) -> str:
    views = sum(VIEW_KEY in node.metadata_props for node in all_nodes(model))
    return f"{_many(views, 'weight')} read out of others: kilnx dedupe was here" if views else ""


def _halves(weights: Iterable[ir.Value]) -> str:
    kinds = Counter(
        _HALVES[value.const_value.dtype]
        for value in weights
        if value.const_value is not None and value.const_value.dtype in _HALVES
    )
    return f"weights in half precision: {_counted(kinds)}" if kinds else ""


def _external(weights: Iterable[ir.Value]) -> str:
    outside = {
        str(value.const_value.location)
        for value in weights
        if isinstance(value.const_value, ir.ExternalTensor)
    }
    return f"weights in files of their own: {', '.join(sorted(outside))}" if outside else ""


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _counted(counts: Mapping[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} {name}" for name, count in ordered)
