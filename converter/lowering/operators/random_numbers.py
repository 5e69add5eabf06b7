"""Random numbers: a constant where seed and shape are, and else refused.

A stateless operator of TensorFlow gives the same numbers for the same seed, always. ONNX's
random operators are another generator's, and those of a file would differ at each run.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import onnx_ir as ir

from converter.lowering.builder import Builder
from converter.lowering.operators.base import UnsupportedLowering

STATELESS = (
    *("StatelessMultinomial", "StatelessParameterizedTruncatedNormal", "StatelessRandomBinomial"),
    *("StatelessRandomGammaV3", "StatelessRandomGetAlg", "StatelessRandomGetKeyCounter"),
    *("StatelessRandomNormal", "StatelessRandomNormalV2", "StatelessRandomUniform"),
    *("StatelessRandomUniformFullInt", "StatelessRandomUniformFullIntV2"),
    *("StatelessRandomUniformInt", "StatelessRandomUniformIntV2", "StatelessRandomUniformV2"),
    *("StatelessShuffle", "StatelessTruncatedNormal", "StatelessTruncatedNormalV2"),
)
STATEFUL = (
    *("Multinomial", "ParameterizedTruncatedNormal", "RandomGamma", "RandomNormal"),
    *("RandomNormalLike", "RandomPoissonV2", "RandomShuffle", "RandomStandardNormal"),
    *("RandomUniform", "RandomUniformInt", "RandomUniformLike", "TruncatedNormal"),
)
_WAY_OUT = "draw the numbers outside of the model and give them to it as an input"


def stateless(build: Builder, node: Any) -> Sequence[str]:
    """The numbers themselves, where all that they depend on is constant."""
    values = _evaluated(node)
    if values is None:
        raise UnsupportedLowering(
            node,
            "its seed moves on with each call, or seed or shape are only known at run time, and "
            f"ONNX has not TensorFlow's random numbers: {_WAY_OUT}, or make seed and shape "
            "constants",
        )
    dtypes = [ir.DataType(build.dtype(output)).numpy() for output in node.output]
    return [build.constant(*pair) for pair in zip(values, dtypes, strict=True)]


def stateful(build: Builder, node: Any) -> Sequence[str]:
    """Random numbers that differ at each call."""
    raise UnsupportedLowering(
        node, f"it gives other random numbers at each run, which no file can repeat: {_WAY_OUT}"
    )


def _evaluated(node: Any) -> list[Any] | None:
    """The outputs of a stateless operator as TensorFlow gives them, or ``None``."""
    import tensorflow as tf

    inputs = []
    for source, tensor in zip(node.inputs, node.input, strict=True):
        if source.is_const():
            inputs.append(source.get_tensor_value(as_list=False))
        elif source.type in STATELESS and (values := _evaluated(source)) is not None:
            inputs.append(values[list(source.output).index(tensor)])
        else:
            return None
    function = getattr(tf.raw_ops, node.type)
    parameters = list(inspect.signature(function).parameters)
    arguments = dict(zip(parameters, inputs, strict=False))
    dtype = ir.DataType(node.output_dtypes[0]).numpy()
    arguments |= {name: dtype for name in ("dtype", "output_dtype") if name in parameters}
    with tf.init_scope():
        found = function(**arguments)
    outputs = list(found) if isinstance(found, tuple) else [found]
    return [output.numpy() for output in outputs]
