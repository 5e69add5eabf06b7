"""A whole model in one message, for another process."""

from __future__ import annotations

import onnx
import onnx_ir as ir

from runtimes.errors import ModelError

# What protobuf holds in one message.
_MOST_BYTES = 2**31 - 2**20


def bytes_to_send(model: ir.Model, advice: str) -> bytes:
    """The graph with its weights; raises ``ModelError`` with ``advice`` where it is too large."""
    proto = ir.to_proto(model)
    size = proto.ByteSize()
    if size > _MOST_BYTES:
        raise ModelError(
            f"the model has {size / 2**30:.1f} GB, and workers are sent 2 GB at most; {advice}"
        )
    raw: bytes = proto.SerializeToString(deterministic=True)
    return raw


def model_sent(raw: bytes) -> ir.Model:
    """What ``bytes_to_send`` was given."""
    found: ir.Model = ir.from_proto(onnx.ModelProto.FromString(raw))
    return found
