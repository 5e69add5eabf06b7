"""Bearer tokens (RFC 6750): long enough not to be guessed, compared in constant time."""

from __future__ import annotations

import hmac

from runtimes.errors import DataError

LEAST_CHARACTERS = 16


def is_token(header: str, token: str) -> bool:
    """Whether ``Authorization`` holds the token, in a time that does not tell how much is right."""
    kind, _, given = header.partition(" ")
    same = hmac.compare_digest(given.encode("utf-8", "replace"), token.encode())
    return same and kind.lower() == "bearer"


def refuse_short_token(token: str | None, without: str) -> None:
    """Raise ``DataError`` for a token that can be guessed; ``without`` says what none would do."""
    if token is not None and len(token) < LEAST_CHARACTERS:
        raise DataError(
            f"a token of {len(token)} characters can be guessed; give {LEAST_CHARACTERS} or "
            f"more, or none: {without}"
        )
