"""The datatypes of the protocol, and what numpy calls them."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from runtimes.serving.protocol.errors import ProtocolError

NUMPY: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    "BYTES": np.dtype(np.object_),
}
"""What arrays hold the elements of each datatype."""

FLOATS = frozenset({"FP16", "BF16", "FP32", "FP64"})
"""The datatypes that have infinities and NaN."""

_NAMES = {dtype: name for name, dtype in NUMPY.items()}


def datatype_of(dtype: np.dtype[Any]) -> str:
    """The protocol's name of a numpy type; strings of any kind are BYTES.

    Raises:
        ProtocolError: The protocol has no such type (status 500: a model has it, not a request).

    Examples:
        >>> datatype_of(np.dtype("float32"))
        'FP32'
    """
    name = _NAMES.get(dtype)
    if name is None and dtype.kind in "SUT":
        return "BYTES"
    if name is None:
        raise ProtocolError(500, f"the Open Inference Protocol has no datatype for {dtype}")
    return name


def dtype_of(datatype: str) -> np.dtype[Any]:
    """The numpy type for a datatype of the protocol.

    Raises:
        ProtocolError: There is no such datatype.

    Examples:
        >>> dtype_of("INT8")
        dtype('int8')
    """
    try:
        return NUMPY[datatype]
    except KeyError:
        known = ", ".join(NUMPY)
        raise ProtocolError(400, f"no datatype {datatype[:40]!r}; there are {known}") from None
