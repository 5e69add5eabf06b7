"""The page at ``/``: try a request, see the latency and the monitor. Static files, no build step.

It uses only the server's public HTTP API. Nothing is loaded from elsewhere, no script and no style
stands in the markup, and the policy of its headers forbids both.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from types import MappingProxyType

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PAGE_HEADERS = MappingProxyType(
    {
        "Content-Security-Policy": _POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        # An upgraded server must not run with the scripts of the old one.
        "Cache-Control": "no-cache",
    }
)
"""Headers that belong to every answer of ``page_response``."""

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_PREFIX = "/page/"


def page_response(path: str) -> tuple[int, str, bytes]:
    """Status, content type and body for ``/`` and for the files below ``/page/``."""
    found = _files().get(path)
    if found is None:
        return 404, "text/plain; charset=utf-8", b"there is no such page\n"
    return 200, *found


@cache
def _files() -> dict[str, tuple[str, bytes]]:
    """Content type and bytes by path: what a path can name is known before anybody asks."""
    found = {}
    for file in files(__name__).iterdir():
        kind = _TYPES.get("." + file.name.rpartition(".")[2])
        if kind is not None:
            found[_PREFIX + file.name] = kind, file.read_bytes()
    found["/"] = found.pop(_PREFIX + "index.html")
    return found
