"""The Keras layers that are lowered whole: what marks them, and what writes their nodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from converter.lowering.activations import activation_lowerings, activation_replacements
from converter.lowering.attention import attention_replacements
from converter.lowering.dilation import dilation_replacements
from converter.lowering.framing import framing_replacements
from converter.lowering.functions import function_replacements
from converter.lowering.markers import Replacement, marker_handler, replaced
from converter.lowering.normalization import normalization_lowerings, normalization_replacements
from converter.lowering.recurrent import recurrent_replacements
from converter.lowering.recurrent_nodes import recurrent_lowerings
from converter.lowering.time_distributed import time_distributed_replacements
from converter.lowering.upsampling import upsampling_lowerings, upsampling_replacements

lower_marker = marker_handler(
    {
        **activation_lowerings(),
        **normalization_lowerings(),
        **recurrent_lowerings(),
        **upsampling_lowerings(),
    }
)
"""The tf2onnx handler of the operator that markers are."""


@contextmanager
def marked_layers(more: Sequence[Replacement] = ()) -> Iterator[None]:
    """Let the layers that have a lowering of their own put markers into what is traced.

    ``more`` are replacements that belong to one model, such as those of quantized layers.
    """
    replacements = [
        *more,
        *activation_replacements(),
        *attention_replacements(),
        *dilation_replacements(),
        *framing_replacements(),
        *function_replacements(),
        *normalization_replacements(),
        *recurrent_replacements(),
        *time_distributed_replacements(),
        *upsampling_replacements(),
    ]
    with replaced(replacements):
        yield
