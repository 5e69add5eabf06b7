"""Turn a live Keras model into an ONNX graph: one trace, one conversion, our passes.

The only file that imports tf2onnx.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from converter.export.bfloat16 import (
    float32_compute,
    restore_inputs,
    uses_bfloat16,
    widened,
)
from converter.export.channels_first import Layout, channels_first
from converter.export.image_inputs import channels_last_images
from converter.export.interface import interim_names, name_interface, set_defaults
from converter.export.node_names import name_after_layers
from converter.export.opsets import DEFAULT_OPSET, NEWEST_CONVERTED_OPSET
from converter.export.refusals import refusal_of, refuse_opaque, refuse_unsupported
from converter.export.tracing.merged_layers import merged_layers
from converter.export.tracing.states import State
from converter.export.tracing.trace import STAND_IN_ABOVE_BYTES, TracedModel, trace
from converter.lowering import custom_handlers
from converter.lowering.branch_shapes import forget_unknown_shapes, shapes_of_branches
from converter.lowering.low_bit.dequantize import write_dequantized
from converter.lowering.missing_kernels import replace_missing_kernels, widen_missing_kernels
from converter.lowering.operators.base import UnsupportedLowering
from converter.passes.fusion.gelu import FuseGelu
from runtimes.errors import ConversionError, KilnxError, UnsupportedOperator
from runtimes.keras_models.parts import keras_variables
from runtimes.keras_models.signature import KerasSignature, keras_signature
from runtimes.onnx_graph.opset import convert_opset

# A GraphDef cannot exceed 2 GB; above this limit, weights are never converted as constants.
_CONSTANTS_LIMIT_BYTES = 1_500_000_000


@dataclass(frozen=True)
class _Attempt:
    """One way to convert: which weights are constants, and whether a rewriter may fail."""

    stand_in_above: int
    lenient: bool


def export(
    model: Any,
    signature: KerasSignature | None = None,
    *,
    opset: int = DEFAULT_OPSET,
    layout: Layout = "nhwc",
    states: Sequence[State] = (),
) -> ir.Model:
    """Export a live Keras model in inference mode (``training=False``).

    Inputs and outputs have their Keras names; a dynamic batch is called ``batch``; every node names
    its Keras layer in ``metadata_props["kilnx.layer"]``. With the layout ``nchw``, image inputs are
    channels first. Weights are shared with the Keras model, not copied. The result has not been
    checked yet: ``convert`` does that.

    Raises ``UnsupportedOperator``, which names the layer and the operator, or ``ConversionError``
    if the model or tf2onnx fails.
    """
    from converter.passes import optimize

    signature = signature or keras_signature(model)
    narrow = uses_bfloat16(model)
    total = sum(_variable_bytes(v) for v in keras_variables(model))
    attempts = [_Attempt(STAND_IN_ABOVE_BYTES, lenient=False)]
    if total < _CONSTANTS_LIMIT_BYTES:
        # Some of tf2onnx's rewriters read weights, and some fail where it is safe to continue.
        attempts += [_Attempt(total + 1, lenient=False), _Attempt(total + 1, lenient=True)]
    failures: list[Exception] = []
    for attempt in attempts:
        if attempt.lenient and (
            any(isinstance(each, UnsupportedOperator) for each in failures)
            or _is_defect(failures[-1])
        ):
            # tf2onnx would keep the operator, and ONNX may have a different one of that name.
            break
        if not narrow:
            traced = trace(model, signature, stand_in_above=attempt.stand_in_above, states=states)
        else:
            with float32_compute(model):
                traced = trace(
                    model,
                    widened(signature),
                    stand_in_above=attempt.stand_in_above,
                    states=states,
                )
        try:
            converted = _to_onnx(
                traced, min(opset, NEWEST_CONVERTED_OPSET), lenient=attempt.lenient
            )
        except Exception as error:
            failures.append(error)
            continue
        name_interface(converted, signature, traced, name=model.name)
        if narrow:
            restore_inputs(converted, signature)
        if layout == "nchw":
            channels_first(converted, channels_last_images(model, signature))
        optimize(converted)
        widen_missing_kernels(converted)
        name_after_layers(converted, traced.layers, merged_layers(model))
        converted = convert_opset(converted, opset)
        FuseGelu()(converted)
        write_dequantized(converted, traced.matrices)
        set_defaults(converted, traced)
        return converted
    raise _most_telling(failures, model)


def _to_onnx(traced: TracedModel, opset: int, *, lenient: bool) -> ir.Model:
    """Convert a traced graph; weights outside the graph are still inputs afterwards."""
    with _quiet_logging():
        import tensorflow as tf
        from tf2onnx import handler, tf_loader, tfonnx

        names = {
            **interim_names("input", traced.inputs),
            **interim_names("output", traced.outputs),
        }

        refuse_opaque(traced.graph_def, traced.layers)
        forget_unknown_shapes(traced.graph_def)
        inherited = handler.tf_op.create_mapping(opset, None)
        try:
            with tf.Graph().as_default() as source, shapes_of_branches(tf_loader):
                tf.import_graph_def(traced.graph_def, name="")
                # tf2onnx's own optimizers are not run: our passes do the same in a tenth of the
                # time, and tf2onnx's are wrong around some loops.
                graph = tfonnx.process_tf_graph(
                    source,
                    continue_on_error=lenient,
                    opset=opset,
                    input_names=[*traced.inputs, *traced.weights, *traced.matrices],
                    output_names=list(traced.outputs),
                    custom_op_handlers=custom_handlers(traced.tables, inherited),
                    tensors_to_rename=names,
                )
        except UnsupportedLowering as error:
            raise refusal_of(error, traced.layers) from error
        refuse_unsupported(graph, traced.layers)
        proto = graph.make_model("kilnx")
    converted = ir.serde.deserialize_model(proto)
    replace_missing_kernels(converted)
    return converted


def _most_telling(failures: list[Exception], model: Any) -> Exception:
    """The failure to report: preferably the refusal that names an operator.

    A failure of tf2onnx becomes a ``ConversionError``; a defect of kilnx is raised unchanged.
    """
    for failure in failures:
        if isinstance(failure, UnsupportedOperator):
            return failure
    for failure in failures:
        if _is_defect(failure):
            return failure
    last = failures[-1]
    if isinstance(last, KilnxError):
        return last
    error = ConversionError(
        f"the model {model.name!r} could not be converted: {type(last).__name__}: {last}"
    )
    error.__cause__ = last
    return error


def _is_defect(error: Exception) -> bool:
    """Whether kilnx is at fault: the error arose in a lowering, or outside tf2onnx."""
    names = [
        str(frame.f_globals.get("__name__", ""))
        for frame, _ in traceback.walk_tb(error.__traceback__)
    ]
    lowering = any(name.startswith("converter.lowering") for name in names)
    of_tf2onnx = any(name.split(".")[0] == "tf2onnx" for name in names)
    return not isinstance(error, KilnxError) and (lowering or not of_tf2onnx)


def _variable_bytes(variable: Any) -> int:
    return int(variable.value.dtype.size) * int(variable.value.shape.num_elements() or 0)


@contextmanager
def _quiet_logging() -> Iterator[None]:
    """Silence tf2onnx, which logs what kilnx raises, so that users see each problem once."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
