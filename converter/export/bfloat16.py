"""Compute bfloat16 models in float32; only their inputs stay bfloat16.

tf2onnx does not support bfloat16, and ONNX Runtime's CPU provider has bfloat16 kernels for hardly
any operator. Every bfloat16 value is a float32 value, so nothing is lost. Outputs are float32,
because Python callers of ONNX Runtime cannot read bfloat16: numpy has no such type.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir

from runtimes.keras_models.parts import all_layers, keras_variables
from runtimes.keras_models.signature import KerasSignature

NOTE = (
    "bfloat16 layers compute in float32, and outputs that are bfloat16 in Keras are float32: ONNX "
    "Runtime's CPU provider has no kernels for bfloat16; the file was compared with Keras "
    "computing in float32, too"
)


def uses_bfloat16(model: Any) -> bool:
    """Whether any layer of a Keras model computes in bfloat16."""
    return any(layer.compute_dtype == "bfloat16" for layer in all_layers(model))


@contextmanager
def float32_compute(model: Any) -> Iterator[None]:
    """Make bfloat16 layers and variables count as float32 while the block runs."""
    changed = [
        (layer, layer.dtype_policy)
        for layer in all_layers(model)
        if layer.compute_dtype == "bfloat16"
    ]
    narrow = [variable for variable in keras_variables(model) if variable._dtype == "bfloat16"]
    try:
        for layer, _ in changed:
            layer.dtype_policy = _in_float32(layer.dtype_policy)
        for variable in narrow:
            variable._dtype = "float32"
        yield
    finally:
        for layer, policy in changed:
            layer.dtype_policy = policy
        for variable in narrow:
            variable._dtype = "bfloat16"


@contextmanager
def float32_call(model: Any) -> Iterator[None]:
    """Like ``float32_compute``, but also casts the variables' values: for calls, not for tracing.

    Whatever a call writes to variables is lost.
    """
    import keras

    narrow = [variable for variable in keras_variables(model) if variable._dtype == "bfloat16"]
    with float32_compute(model):
        values = [(variable, keras.ops.cast(variable.value, "float32")) for variable in narrow]
        with keras.StatelessScope(state_mapping=values) if values else nullcontext():
            yield


def _in_float32(policy: Any) -> Any:
    """The policy in float32, keeping its quantization: ``int8_from_bfloat16`` names both."""
    import keras

    quantization, separator, _ = policy.name.rpartition("_from_")
    return keras.dtype_policies.get(f"{quantization}{separator}float32")


def widened(signature: KerasSignature) -> KerasSignature:
    """The signature with float32 instead of bfloat16."""
    inputs = tuple(
        replace(spec, dtype=np.dtype(np.float32)) if spec.dtype.name == "bfloat16" else spec
        for spec in signature.inputs
    )
    return replace(signature, inputs=inputs)


def restore_inputs(model: ir.Model, signature: KerasSignature) -> None:
    """Make inputs that are bfloat16 in Keras bfloat16 again, with Casts, in place."""
    graph = model.graph
    for value, spec in zip(graph.inputs, signature.inputs, strict=False):
        if spec.dtype.name == "bfloat16":
            uses = list(value.uses())
            value.dtype = ir.DataType.BFLOAT16
            cast = _to_float32(value)
            graph.insert_before(graph[0], cast)
            for node, index in uses:
                node.replace_input_with(index, cast.outputs[0])


def _to_float32(value: ir.Value) -> ir.Node:
    name, to = f"{value.name}_float32", ir.DataType.FLOAT
    node = ir.node("Cast", [value], {"to": to.value}, name=f"{name}/Cast")
    node.outputs[0].name, node.outputs[0].dtype, node.outputs[0].shape = name, to, value.shape
    return node
