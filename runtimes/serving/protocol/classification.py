"""The classification extension: the best classes of an output, as strings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from runtimes.serving.protocol.errors import ProtocolError
from runtimes.serving.protocol.json_elements import string_array
from runtimes.serving.protocol.messages import Tensor


def classified(tensor: Tensor, count: int, labels: Sequence[str] = ()) -> Tensor:
    """The ``count`` best classes, each ``value:index[:label]``; the first axis is the batch.

    https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_classification.md

    Raises:
        ProtocolError: The output has no order of values, or fewer classes.
    """
    if tensor.datatype in ("BYTES", "BOOL"):
        raise ProtocolError(400, f"output {tensor.name!r} is {tensor.datatype}: it has no classes")
    rows = tensor.data.reshape(tensor.shape[0] if len(tensor.shape) > 1 else 1, -1)
    if count > rows.shape[1]:
        raise ProtocolError(
            400, f"output {tensor.name!r} has {rows.shape[1]} classes, of which {count} are wanted"
        )
    found = [_text(row, index, labels) for row in rows for index in _best(row, count)]
    shape = (rows.shape[0], count) if len(tensor.shape) > 1 else (count,)
    data = string_array(found).reshape(shape)
    return Tensor(tensor.name, "BYTES", shape, data, tensor.parameters)


def _best(row: np.ndarray, count: int) -> list[int]:
    """The indices of the largest values, largest first, equal ones by index; NaN comes last."""
    order = np.lexsort((np.arange(len(row)), -row.astype(np.float64)))
    best: list[int] = order[:count].tolist()
    return best


def _text(row: np.ndarray, index: int, labels: Sequence[str]) -> bytes:
    label = f":{labels[index]}" if index < len(labels) else ""
    return f"{row[index]}:{index}{label}".encode()
