"""Calibrating a shard as a task for another process, here or on another machine."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import onnx_ir as ir

from quantizers.calibration.observe_shard import Place, observe_shard
from quantizers.calibration.statistics_file import statistics_chunks
from quantizers.options import QuantizeOptions
from runtimes.data.dataset import Dataset
from runtimes.onnx_files.sent_bytes import bytes_to_send, model_sent


@dataclass(frozen=True)
class CalibrationTask:
    """``model``: the bytes of the graph; ``data``: what ``Dataset.open`` takes, opened there."""

    model: bytes = field(repr=False)
    data: Any
    options: QuantizeOptions

    @classmethod
    def of(cls, model: ir.Model, data: Any, options: QuantizeOptions) -> CalibrationTask:
        """Raises ``ModelError`` for a model that is too large to be sent."""
        advice = "calibrate shard by shard with --shard, where the model's file is"
        return cls(bytes_to_send(model, advice), data, options)

    def __call__(self, shard: tuple[int, int]) -> bytes:
        """The bytes of the statistics of a shard."""
        found = observe_shard(self._graph, self._opened, Place(shard), options=self.options)
        return b"".join(statistics_chunks(found))

    @cached_property
    def _graph(self) -> ir.Model:
        return model_sent(self.model)

    @cached_property
    def _opened(self) -> Dataset:
        return Dataset.open(self.data)
