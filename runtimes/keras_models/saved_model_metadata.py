"""What Keras 2 wrote about a model next to its SavedModel: the file ``keras_metadata.pb``.

Messages of ``saved_metadata.proto`` in Keras 2: ``SavedMetadata.nodes``, each a ``SavedObject``
with its path and its metadata in JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runtimes.protobuf_fields import BYTES, MalformedMessage, fields

_FILE = "keras_metadata.pb"
_NODES, _NODE_PATH, _METADATA = 1, 3, 5


def training_config(folder: Path) -> Any:
    """What the model was compiled with; None where that is not known."""
    try:
        message = memoryview((folder / _FILE).read_bytes())
        for node in _parts(message, _NODES):
            if any(bytes(path) == b"root" for path in _parts(node, _NODE_PATH)):
                found = json.loads(bytes(next(_parts(node, _METADATA))))
                return found.get("training_config")
    except (OSError, MalformedMessage, StopIteration, ValueError, AttributeError):
        pass  # it only helps to choose a metric
    return None


def _parts(message: memoryview, number: int) -> Iterator[memoryview]:
    for field in fields(message):
        if field.number == number and field.wire_type == BYTES:
            yield message[field.start : field.stop]
