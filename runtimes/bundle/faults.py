"""What can be wrong with a bundle: one name for each kind, so that callers can tell them apart."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

from runtimes.errors import BundleError

_SHOWN = 5


class Fault(StrEnum):
    """The ``kind`` of a ``BundleError``; ``docs/bundle.md`` says what each one means."""

    UNREADABLE = "unreadable"
    NO_MANIFEST = "no-manifest"
    BAD_MANIFEST = "bad-manifest"
    NEWER_FORMAT = "newer-format"
    BAD_ARCHIVE = "bad-archive"
    COMPRESSED = "compressed"
    TOO_MANY = "too-many"
    BAD_NAME = "bad-name"
    OUTSIDE = "outside"
    DUPLICATE = "duplicate"
    CASE_COLLISION = "case-collision"
    LINK = "link"
    SPECIAL = "special"
    MISSING = "missing"
    EXTRA = "extra"
    SIZE = "size"
    DIGEST = "digest"
    MODEL = "model"
    STAGES = "stages"
    WEIGHTS = "weights"
    CHANGED = "changed"
    UNSIGNED = "unsigned"
    SIGNATURE = "signature"
    KEY = "key"


def refusal(kind: Fault, message: str) -> BundleError:
    """The error to raise for a bundle with this fault."""
    return BundleError(message, kind.value)


def listed(names: Collection[str]) -> str:
    """The first names in order, and how many more there are."""
    shown = sorted(names)[:_SHOWN]
    more = len(names) - len(shown)
    return ", ".join(map(repr, shown)) + (f" and {more} more" if more else "")
