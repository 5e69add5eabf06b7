"""A link between a client and a server that counts what crosses it, and breaks when it is told."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Link:
    """Bytes in both directions; ``breaks_after`` lists after how many sent bytes it breaks."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.sent = self.received = 0
        self.breaks_after: list[int] = []

    @property
    def crossed(self) -> int:
        """Bytes in both directions."""
        return self.sent + self.received

    def run(self) -> None:
        """Pass on every connection until the link is closed."""
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def close(self) -> None:
        """Accept no more connections."""
        self._listener.close()

    def _connect(self, client: socket.socket) -> None:
        """Pass on one connection in both directions, and close both ends of it."""
        with client, socket.create_connection(("127.0.0.1", self._to)) as server:
            back = threading.Thread(target=self._pass_on, args=(server, client, False), daemon=True)
            back.start()
            self._pass_on(client, server, True)
            back.join()

    def _pass_on(self, source: socket.socket, target: socket.socket, sending: bool) -> None:
        with suppress(OSError):
            while piece := source.recv(4096):
                if sending:
                    self.sent += len(piece)
                    if self.breaks_after and self.sent >= self.breaks_after[0]:
                        self.breaks_after.pop(0)
                        break
                else:
                    self.received += len(piece)
                target.sendall(piece)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def link_to(port: int) -> Iterator[Link]:
    """A link to a port of this machine."""
    link = Link(port)
    threading.Thread(target=link.run, daemon=True).start()
    try:
        yield link
    finally:
        link.close()
