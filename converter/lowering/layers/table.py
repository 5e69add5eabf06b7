"""The Keras layers that are lowered whole: what marks them, and what writes their nodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from converter.lowering.layers.activations import activation_lowerings, activation_replacements
from converter.lowering.layers.attention import attention_replacements
from converter.lowering.layers.dilated_convolution import dilation_replacements
from converter.lowering.layers.framing import framing_replacements
from converter.lowering.layers.functions import function_replacements
from converter.lowering.layers.normalization import (
    normalization_lowerings,
    normalization_replacements,
)
from converter.lowering.layers.recurrent import recurrent_replacements
from converter.lowering.layers.recurrent_nodes import recurrent_lowerings
from converter.lowering.layers.scans import scan_replacements
from converter.lowering.layers.seeds import seed_lowerings, seed_replacements
from converter.lowering.layers.time_distributed import time_distributed_replacements
from converter.lowering.layers.upsampling import upsampling_lowerings, upsampling_replacements
from converter.lowering.markers import Replacement, marker_handler, replaced

lower_marker = marker_handler(
    {
        **activation_lowerings(),
        **normalization_lowerings(),
        **recurrent_lowerings(),
        **seed_lowerings(),
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
        *scan_replacements(),
        *seed_replacements(),
        *time_distributed_replacements(),
        *upsampling_replacements(),
    ]
    with replaced(replacements):
        yield
