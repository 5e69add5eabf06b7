"""A digest of a whole model: what it computes, and with which weights."""

from __future__ import annotations

import hashlib

import numpy as np
import onnx_ir as ir

from runtimes.onnx_files.tensor_bytes import byte_chunks


def model_digest(model: ir.Model) -> str:
    """SHA-256 of the graph and of its weights, wherever these are stored, in hexadecimal.

    Weights are read piece by piece, so that a large model needs no memory.
    """
    digest = hashlib.sha256()
    copy = model.clone()
    for name, value in sorted(copy.graph.initializers.items()):
        tensor = value.const_value
        if tensor is None:
            continue
        digest.update(repr((name, tensor.dtype.name, tuple(tensor.shape))).encode())
        for chunk in byte_chunks(tensor):
            digest.update(chunk)
        value.const_value = ir.tensor(np.zeros(0, np.uint8), name=name)
    digest.update(ir.to_proto(copy).SerializeToString(deterministic=True))
    return digest.hexdigest()
