"""Why operators have no ONNX form, where more can be said than that they have none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from converter.lowering.builder import Builder
from converter.lowering.operators.base import UnsupportedLowering

_BITS = "the bits of floats cannot be read in ONNX"
_SINGULAR = "ONNX has no decomposition into singular values"
_EIGEN = "ONNX has no decomposition into eigenvalues"
_HASH = (
    "it hashes text, and the characters of a string cannot be read in ONNX; a table of the words "
    "(StringLookup with its vocabulary) can be exported"
)
_SPLIT = "text cannot be taken apart in ONNX below opset 20; give the model its tokens"
_SEARCH = "ONNX has no beam search"

REASONS = {
    "Bitcast": _BITS,
    "CTCBeamSearchDecoder": _SEARCH,
    "Eig": _EIGEN,
    "NextAfter": _BITS,
    "SelfAdjointEigV2": _EIGEN,
    "SparseCross": _HASH,
    "SparseCrossHashed": _HASH,
    "SparseCrossV2": _HASH,
    "StringSplitV2": _SPLIT,
    "StringToHashBucket": _HASH,
    "StringToHashBucketFast": _HASH,
    "StringToHashBucketStrong": _HASH,
    "Svd": _SINGULAR,
}
"""By the name of the TensorFlow operator."""


DECOMPOSITIONS = ("Eig", "SelfAdjointEigV2", "Svd")
"""Refused before anything that follows from their outputs can be."""


def decomposition(_build: Builder, node: Any) -> Sequence[str]:
    """A decomposition that ONNX has not."""
    raise UnsupportedLowering(node, REASONS[str(node.type)])
