"""The known name that is nearest to one that does not exist."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The one of ``known``, in small letters, that was probably meant."""
    found = difflib.get_close_matches(name.lower(), list(known), n=1)
    return found[0] if found else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The same in words, to stand behind the name; empty where nothing is near."""
    near = nearest(name, known)
    return f" (did you mean {near!r}?)" if near else ""
