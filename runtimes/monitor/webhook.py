"""Alarms to an address that the operator named, by a thread of its own, with a few tries."""

from __future__ import annotations

import json
import queue
import threading
import urllib.error
import urllib.request
from typing import Any

TRIES, TIMEOUT, PAUSE = 4, 5.0, 1.0
"""How often an alarm is posted, seconds that each may take, and the first pause, which doubles."""

_MOST_WAITING = 100


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """The operator named one address; whoever answers there does not choose another."""

    def redirect_request(self, *args: Any, **named: Any) -> None:
        return None


class Webhook:
    """Posts JSON documents in order; what cannot be delivered is counted, not raised."""

    def __init__(self, address: str, *, timeout: float = TIMEOUT, pause: float = PAUSE) -> None:
        self._address, self._timeout, self._pause = address, timeout, pause
        self._waiting: queue.Queue[dict[str, Any] | None] = queue.Queue(_MOST_WAITING)
        self._closing = threading.Event()
        # Proxies of the environment would send alarms by way of whom the operator did not name.
        self._opener = urllib.request.build_opener(_NoRedirects, urllib.request.ProxyHandler({}))
        self.delivered = self.failed = 0
        self.last_error: str | None = None
        self._thread = threading.Thread(target=self._work, name="kilnx-webhook", daemon=True)
        self._thread.start()

    def post(self, document: dict[str, Any]) -> None:
        """Deliver a document later; never blocks."""
        try:
            self._waiting.put_nowait(document)
        except queue.Full:
            self.failed += 1

    def close(self) -> None:
        """Deliver what waits, each with one more try, and end."""
        self._closing.set()
        try:
            self._waiting.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(2 * self._timeout)

    def _work(self) -> None:
        while (document := self._waiting.get()) is not None:
            if self._delivered(json.dumps(document).encode()):
                self.delivered += 1
            else:
                self.failed += 1

    def _delivered(self, body: bytes) -> bool:
        pause = self._pause
        for _ in range(TRIES):
            if self._posted(body):
                return True
            if self._closing.wait(pause):
                return self._posted(body)
            pause *= 2
        return False

    def _posted(self, body: bytes) -> bool:
        request = urllib.request.Request(
            self._address, body, {"Content-Type": "application/json", "User-Agent": "kilnx"}
        )
        try:
            with self._opener.open(request, timeout=self._timeout) as answer:
                return bool(200 <= answer.status < 300)
        except (OSError, ValueError, urllib.error.URLError) as error:
            self.last_error = f"{type(error).__name__}: {error}"[:200]
            return False

    def to_dict(self) -> dict[str, Any]:
        """Deliveries so far; the address is not told, for it may hold a secret."""
        return {
            "delivered": self.delivered,
            "failed": self.failed,
            "last_error": self.last_error,
        }
