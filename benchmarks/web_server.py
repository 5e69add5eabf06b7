"""A server for one page that runs models in a browser, with the headers that threads need.

Threads of WebAssembly share memory, and browsers give shared memory only to a page that is isolated
from others: by Cross-Origin-Opener-Policy and Cross-Origin-Embedder-Policy.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

_ISOLATED = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_TYPES = {".html": "text/html", ".mjs": "text/javascript", ".wasm": "application/wasm"}
_MOST_BYTES = 256 * 2**20


class Pages:
    """What is served, by its exact path, and what the page has posted."""

    def __init__(self, served: Mapping[str, bytes | Path]) -> None:
        self.served = served
        self._result: dict[str, Any] = {}
        self._posted = threading.Event()

    def post(self, result: dict[str, Any]) -> None:
        """Keep what the page has posted."""
        self._result = result
        self._posted.set()

    def wait(self, seconds: float) -> dict[str, Any]:
        """What the page posts; raises ``TimeoutError`` if that takes longer than ``seconds``."""
        if not self._posted.wait(seconds):
            raise TimeoutError(f"the page posted nothing for {seconds:g} s")
        return self._result


@contextmanager
def serve(pages: Pages) -> Iterator[str]:
    """Serve ``pages`` to this machine; yields the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(pages))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(pages: Pages) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = pages.served.get(self.path)
            if found is None:
                self._answer(404, b"", "text/plain")
                return
            data = found if isinstance(found, bytes) else found.read_bytes()
            suffix = Path(self.path).suffix
            self._answer(200, data, _TYPES.get(suffix, "application/octet-stream"))

        def do_POST(self) -> None:
            size = int(self.headers.get("Content-Length", 0))
            if self.path != "/result" or not 0 < size <= _MOST_BYTES:
                self._answer(404, b"", "text/plain")
                return
            pages.post(json.loads(self.rfile.read(size)))
            self._answer(200, b"", "text/plain")

        def log_message(self, format: str, *args: object) -> None:
            pass

        def _answer(self, status: int, data: bytes, kind: str) -> None:
            self.send_response(status)
            for name, value in {**_ISOLATED, "Content-Type": kind}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    return Handler
