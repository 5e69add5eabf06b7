"""What a server tells of itself and of its models; REST and gRPC write it from here."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

ModelState: TypeAlias = Literal["UNKNOWN", "READY", "UNAVAILABLE", "LOADING", "UNLOADING"]

EXTENSIONS = (
    "classification",
    "model_repository",
    "statistics",
    "binary_tensor_data",
    "parameters",
)
"""The extensions of the protocol that this server understands."""


class ServerMetadata(msgspec.Struct, frozen=True):
    """``GET /v2``."""

    name: str
    version: str
    extensions: tuple[str, ...] = EXTENSIONS


class TensorMetadata(msgspec.Struct, frozen=True):
    """An input or output of a model; -1 stands for a size that a request may choose."""

    name: str
    datatype: str
    shape: tuple[int, ...]


class ModelMetadata(msgspec.Struct, frozen=True):
    """``GET /v2/models/M``."""

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]


class IndexEntry(msgspec.Struct, frozen=True):
    """A model of the repository, and in which state a version of it is."""

    name: str
    version: str
    state: ModelState
    reason: str = ""


class StatisticDuration(msgspec.Struct, frozen=True):
    """How often something happened, and how long it took in all."""

    count: int = 0
    ns: int = 0


class InferStatistics(msgspec.Struct, frozen=True):
    """Where the time of the requests of a model went."""

    success: StatisticDuration = StatisticDuration()
    fail: StatisticDuration = StatisticDuration()
    queue: StatisticDuration = StatisticDuration()
    compute_input: StatisticDuration = StatisticDuration()
    compute_infer: StatisticDuration = StatisticDuration()
    compute_output: StatisticDuration = StatisticDuration()
    cache_hit: StatisticDuration = StatisticDuration()
    cache_miss: StatisticDuration = StatisticDuration()


class BatchStatistics(msgspec.Struct, frozen=True):
    """The executions of one batch size."""

    batch_size: int
    compute_input: StatisticDuration = StatisticDuration()
    compute_infer: StatisticDuration = StatisticDuration()
    compute_output: StatisticDuration = StatisticDuration()


class ModelStatistics(msgspec.Struct, frozen=True):
    """What a version of a model has done; ``last_inference`` is in milliseconds since 1970."""

    name: str
    version: str
    last_inference: int = 0
    inference_count: int = 0
    execution_count: int = 0
    inference_stats: InferStatistics = InferStatistics()
    batch_stats: tuple[BatchStatistics, ...] = ()


def document(of: msgspec.Struct) -> dict[str, Any]:
    """Any of these, as the JSON that the protocol has for it."""
    plain: dict[str, Any] = msgspec.to_builtins(of)
    return plain


def statistics_document(models: tuple[ModelStatistics, ...]) -> dict[str, Any]:
    """``GET /v2/models/stats``."""
    return {"model_stats": [document(each) for each in models]}


def index_document(models: tuple[IndexEntry, ...]) -> list[dict[str, Any]]:
    """``POST /v2/repository/index``."""
    return [document(each) for each in models]
