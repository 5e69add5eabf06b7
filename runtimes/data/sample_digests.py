"""Which samples a set holds, in a few bytes each: to tell later whether another shares any.

Where there are too many to list, those with the smallest digests are kept: as the same samples
have the same digests everywhere, they stand for all (bottom-k sketch; Broder, On the resemblance
and containment of documents, 1997).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from runtimes.base import Array
from runtimes.data.batches import Batch
from runtimes.data.dataset import Dataset

_DIGEST_BYTES = 8
_MOST = 1 << 16
_BATCH = 256


@dataclass(frozen=True)
class SampleDigests:
    """What is known of a set of samples: its name, how many there are, and their digests.

    ``digests`` are sorted; there are fewer than ``samples`` where some are equal, or too many.
    """

    name: str
    samples: int
    digests: tuple[bytes, ...]

    @property
    def complete(self) -> bool:
        """Whether every sample is in ``digests``."""
        return len(self.digests) < _MOST

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; the digests in Base64, one behind the other."""
        text = base64.b64encode(b"".join(self.digests)).decode("ascii")
        return {"name": self.name, "samples": self.samples, "digests": text}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> SampleDigests:
        """What ``to_dict`` gave; raises ``ValueError`` for anything else."""
        try:
            raw = base64.b64decode(document["digests"], validate=True)
            found = [raw[at : at + _DIGEST_BYTES] for at in range(0, len(raw), _DIGEST_BYTES)]
            return cls(str(document["name"]), int(document["samples"]), tuple(found))
        except (KeyError, TypeError, binascii.Error) as error:
            raise ValueError(f"these are no digests of samples: {error}") from error


def digests_of(data: Dataset) -> SampleDigests:
    """Read all samples; their labels do not count."""
    found: set[bytes] = set()
    samples = 0
    for batch in data.without_labels().batches(_BATCH):
        found.update(_digests(batch))
        samples += len(batch)
        if len(found) > 2 * _MOST:
            found = set(sorted(found)[:_MOST])
    return SampleDigests(data.name, samples, tuple(sorted(found)[:_MOST]))


def shared_samples(data: Dataset, known: SampleDigests) -> Array:
    """The positions of the samples that are also among those that ``known`` lists, int64."""
    listed = set(known.digests)
    found = [
        batch.indices[[digest in listed for digest in _digests(batch)]]
        for batch in data.without_labels().batches(_BATCH)
    ]
    return np.sort(np.concatenate(found))


def first_digest(batch: Batch) -> str:
    """The digest of the first sample of a batch, in hexadecimal."""
    return next(_digests(batch)).hex()


def _digests(batch: Batch) -> Iterator[bytes]:
    for row in range(len(batch)):
        digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
        for name in sorted(batch.feed):
            array = batch.feed[name]
            values = array[row : row + 1].reshape(array.shape[1:])  # a text stays an array
            digest.update(f"{name}\0{_kind(values)}{values.shape}\0".encode())
            digest.update(_bytes(values))
        yield digest.digest()


def _kind(values: Array) -> str:
    """The dtype; texts are the same however many characters their array has room for."""
    return "text" if values.dtype.kind in "OUS" else str(values.dtype.name)


def _bytes(values: Array) -> bytes:
    text = values.dtype.kind in "OUS"
    return repr(values.tolist()).encode() if text else np.ascontiguousarray(values).tobytes()
