"""The graph that a command starts from: simplified, or as it was given where that fails."""

from __future__ import annotations

import onnx_ir as ir

from converter.passes import optimize
from runtimes.defects import Defect, contain
from runtimes.errors import KilnxError


def simplified(source: ir.Model) -> tuple[ir.Model, tuple[Defect, ...]]:
    """A simplified copy of ``source``, and the defect that stood against it.

    Raises ``KilnxError`` for what is wrong with the model itself.
    """
    found = contain(
        "simplifying the graph",
        lambda: optimize(source.clone()),
        lambda error: isinstance(error, KilnxError),
    )
    return (source.clone(), (found,)) if isinstance(found, Defect) else (found, ())
