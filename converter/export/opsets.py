"""Which opset to write, so that the target runtime can open the file."""

from __future__ import annotations

import re

from runtimes.errors import DataError
from runtimes.onnx_graph.opset import newest_opset
from runtimes.targets import Target, find_target

OLDEST_OPSET = 13
DEFAULT_OPSET = 18

NEWEST_CONVERTED_OPSET = 18
"""The newest opset that tf2onnx writes; for newer ones, ONNX's version converter is used."""

# Newest opset that each release of ONNX Runtime implements, from its version matrix:
# https://onnxruntime.ai/docs/reference/compatibility.html
_ORT_OPSETS = {
    (1, 6): 13,
    (1, 7): 13,
    (1, 8): 14,
    (1, 9): 15,
    (1, 10): 15,
    (1, 11): 16,
    (1, 12): 17,
    (1, 13): 17,
    (1, 14): 18,
    (1, 15): 19,
    (1, 16): 19,
    (1, 17): 20,
    (1, 18): 21,
    (1, 19): 21,
    (1, 20): 21,
    (1, 21): 22,
    (1, 22): 22,
    (1, 23): 23,
}


def choose_opset(
    opset: int | None,
    target_ort: str | None,
    target: Target | str | None = None,
    *,
    default: int = DEFAULT_OPSET,
) -> int:
    """The opset to write: ``opset`` if given, or else ``default`` if the target supports it.

    ``target_ort`` is a release of ONNX Runtime such as ``1.16``, for targets that it runs. A target
    that reads the INT8 of newer opsets only gets a file of such an opset. Raises ``DataError`` for
    an opset that is out of range or too new for the target, and for a release that cannot be
    parsed or that does not go with the target.
    """
    target, newest = find_target(target), newest_opset()
    if target_ort is not None and not target.is_onnxruntime:
        raise DataError(
            f"--target-ort {target_ort} is a release of ONNX Runtime, which does not run the "
            f"target {target.name!r}; leave one of the two out"
        )
    limit = newest if target_ort is None else _newest_of(target_ort, newest)
    if opset is None:
        return min(max(default, target.oldest_int8_opset), limit, target.opset)
    if not OLDEST_OPSET <= opset <= newest:
        raise DataError(
            f"--opset {opset} is out of range: opsets {OLDEST_OPSET} to {newest} can be written"
        )
    if opset > limit:
        raise DataError(
            f"ONNX Runtime {target_ort} opens opsets up to {limit}, but --opset asks for {opset}; "
            "leave one of the two out"
        )
    if opset > target.opset:
        raise DataError(
            f"the target {target.name!r} opens opsets up to {target.opset}, but --opset asks for "
            f"{opset}; leave one of the two out"
        )
    return opset


def _newest_of(release: str, newest: int) -> int:
    match = re.fullmatch(r"(\d+)\.(\d+)(\.\d+)?", release.strip())
    if match is None:
        raise DataError(f"--target-ort {release!r} is not a release such as 1.16")
    key = int(match.group(1)), int(match.group(2))
    if key < min(_ORT_OPSETS):
        oldest = ".".join(map(str, min(_ORT_OPSETS)))
        raise DataError(
            f"ONNX Runtime {release} does not support opset {OLDEST_OPSET}, the oldest that can be "
            f"written; the oldest possible release is {oldest}"
        )
    return _ORT_OPSETS.get(key, newest)
