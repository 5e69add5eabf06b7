"""bfloat16 inputs and outputs for ONNX Runtime, whose Python API has no NumPy type for them."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

from runtimes.base import Array, Feed


def is_bfloat16(dtype: np.dtype[Any]) -> bool:
    """Whether ``dtype`` is ml_dtypes' bfloat16."""
    return dtype.name == "bfloat16"


def run_narrow(session: Any, names: Sequence[str], feed: Feed, options: Any) -> list[Array]:
    """``session.run`` with bfloat16 inputs or outputs, by means of ``OrtValue`` objects."""
    values = {name: _to_value(array) for name, array in feed.items()}
    return [_to_array(value) for value in session.run_with_ort_values(list(names), values, options)]


def _to_value(array: Array) -> Any:
    import onnxruntime

    if not is_bfloat16(array.dtype):
        return onnxruntime.OrtValue.ortvalue_from_numpy(np.asarray(array, order="C"))
    from onnx import TensorProto

    bits = np.asarray(array, order="C").view(np.uint16)
    return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(bits, TensorProto.BFLOAT16)


def _to_array(value: Any) -> Array:
    if "bfloat16" not in value.data_type():
        array: Array = value.numpy()
        return array
    import ml_dtypes

    shape = tuple(value.shape())
    count = int(np.prod(shape, dtype=np.int64))
    # The buffer belongs to ``value``: copy it before it is freed.
    bits = np.array((ctypes.c_uint16 * count).from_address(value.data_ptr()), dtype=np.uint16)
    narrow: Array = bits.view(ml_dtypes.bfloat16).reshape(shape)
    return narrow
