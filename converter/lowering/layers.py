"""The Keras layers that are lowered whole: what marks them, and what writes their nodes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from converter.lowering.markers import Lowering, marker_handler, replaced
from converter.lowering.recurrent import KIND as RECURRENT
from converter.lowering.recurrent import recurrent_replacements
from converter.lowering.recurrent_nodes import lower_recurrent
from converter.lowering.time_distributed import time_distributed_replacements

_LOWERINGS: dict[str, Lowering] = {
    RECURRENT: lower_recurrent,
}

lower_marker = marker_handler(_LOWERINGS)
"""The tf2onnx handler of the operator that markers are."""


@contextmanager
def marked_layers() -> Iterator[None]:
    """Let the layers that have a lowering of their own put markers into what is traced."""
    with replaced([*recurrent_replacements(), *time_distributed_replacements()]):
        yield
