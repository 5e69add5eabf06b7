"""What a server tells of itself and of its models, as gRPC's messages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from runtimes.serving.grpc.messages import MESSAGE_CLASSES
from runtimes.serving.protocol.documents import (
    IndexEntry,
    ModelMetadata,
    ModelStatistics,
    ServerMetadata,
    document,
)


def server_message(metadata: ServerMetadata) -> Any:
    """``ServerMetadataResponse``."""
    return MESSAGE_CLASSES["ServerMetadataResponse"](**document(metadata))


def model_message(metadata: ModelMetadata) -> Any:
    """``ModelMetadataResponse``."""
    return MESSAGE_CLASSES["ModelMetadataResponse"](**document(metadata))


def index_message(entries: Iterable[IndexEntry]) -> Any:
    """``RepositoryIndexResponse``."""
    models = [document(entry) for entry in entries]
    return MESSAGE_CLASSES["RepositoryIndexResponse"](models=models)


def statistics_message(models: Iterable[ModelStatistics]) -> Any:
    """``ModelStatisticsResponse``."""
    found = [document(each) for each in models]
    return MESSAGE_CLASSES["ModelStatisticsResponse"](model_stats=found)
