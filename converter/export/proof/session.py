"""The session that proves an exported file, with as little memory as possible.

A large file is not loaded by the session, which would hold two more copies of the weights next to
Keras' own. The session gets the file's graph, whose weights refer to the file, and uses instead
the weights in memory from which the file was written, after every byte of them was compared with
the file.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import onnx_ir as ir

from runtimes.engines.ort import Optimization
from runtimes.engines.ort_install import require_onnxruntime
from runtimes.errors import ConversionError
from runtimes.onnx_files.load_save import file_bytes, load_graph
from runtimes.onnx_files.streaming import frame_of
from runtimes.onnx_files.tensor_bytes import equal_bytes

_SHARED_ABOVE_BYTES = 100_000_000
_EXTENDED_ABOVE_BYTES = 1_000_000_000

# Prepacked weights are a second copy, which is worth it for speed but not for two runs.
_NO_PREPACKING = {"session.disable_prepacking": "1"}


class ProofSession:
    """The arguments of ``OrtRuntime`` to run a file: a path, weights and options."""

    def __init__(
        self,
        path: Path,
        initializers: Mapping[str, Any] = MappingProxyType({}),
        config: Mapping[str, str] = MappingProxyType({}),
        optimization: Optimization = "all",
    ) -> None:
        self.path = path
        self.initializers = initializers
        self.config = config
        self.optimization = optimization


@contextmanager
def proof_session(path: Path, graph: ir.Model | None) -> Iterator[ProofSession]:
    """How to run the file at ``path``, which was written from ``graph``, if that is known.

    Raises ``ConversionError`` if a weight in the file differs from the one in memory.
    """
    size = file_bytes(path)
    if size < _SHARED_ABOVE_BYTES:
        yield ProofSession(path)
        return
    # For a larger file, ONNX Runtime's blocked layout would copy the weights of every convolution.
    optimization: Optimization = "all" if size < _EXTENDED_ABOVE_BYTES else "extended"
    initializers = {} if graph is None else _compared(load_graph(path), graph)
    # Next to the file, because a model may not refer to files outside its folder.
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", suffix=".onnx") as frame:
        frame.write(frame_of(path))
        frame.flush()
        yield ProofSession(Path(frame.name), initializers, _NO_PREPACKING, optimization)


def _compared(written: ir.Model, graph: ir.Model) -> dict[str, Any]:
    """The weights of ``graph`` that a session can use as they are, by name."""
    ort = require_onnxruntime()
    shared = {}
    for name, value in written.graph.initializers.items():
        found, meant = value.const_value, graph.graph.initializers[name].const_value
        if not isinstance(found, ir.ExternalTensor) or meant is None or value.is_graph_input():
            continue
        if (found.dtype, found.shape) != (meant.dtype, meant.shape) or not equal_bytes(
            found, meant
        ):
            raise ConversionError(
                f"the weight {name!r} in the file differs from what was written; the disk or the "
                "memory may be damaged, or another program wrote to the file: convert again"
            )
        array = meant.numpy()
        plain = array.dtype.kind in "fiub" and array.dtype.itemsize * 8 == meant.dtype.bitwidth
        if plain and array.flags.c_contiguous and not isinstance(meant, ir.ExternalTensor):
            shared[name] = ort.OrtValue.ortvalue_from_numpy(array)
    return shared
