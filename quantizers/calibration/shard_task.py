"""Calibrating a shard as a task for another process, here or on another machine."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import onnx
import onnx_ir as ir

from quantizers.calibration.observe_shard import Place, observe_shard
from quantizers.calibration.statistics_file import statistics_chunks
from quantizers.options import QuantizeOptions
from runtimes.data.dataset import Dataset
from runtimes.errors import ModelError

# What protobuf holds in one message.
_MOST_BYTES = 2**31 - 2**20


@dataclass(frozen=True)
class CalibrationTask:
    """``model``: the bytes of the graph; ``data``: what ``Dataset.open`` takes, opened there."""

    model: bytes = field(repr=False)
    data: Any
    options: QuantizeOptions

    @classmethod
    def of(cls, model: ir.Model, data: Any, options: QuantizeOptions) -> CalibrationTask:
        """Raises ``ModelError`` for a model that is too large to be sent."""
        proto = ir.to_proto(model)
        size = proto.ByteSize()
        if size > _MOST_BYTES:
            raise ModelError(
                f"the model has {size / 2**30:.1f} GB, and workers are sent 2 GB at most; "
                "calibrate shard by shard with --shard, where the model's file is"
            )
        return cls(proto.SerializeToString(deterministic=True), data, options)

    def __call__(self, shard: tuple[int, int]) -> bytes:
        """The bytes of the statistics of a shard."""
        found = observe_shard(self._graph, self._opened, Place(shard), options=self.options)
        return b"".join(statistics_chunks(found))

    @cached_property
    def _graph(self) -> ir.Model:
        found: ir.Model = ir.from_proto(onnx.ModelProto.FromString(self.model))
        return found

    @cached_property
    def _opened(self) -> Dataset:
        return Dataset.open(self.data)
