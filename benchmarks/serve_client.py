"""A well-behaved client that knows the right answer to each of its requests.

It asks an identity model: the answer to numbers that nobody else sends has to be those numbers.
"""

from __future__ import annotations

import asyncio
import json
import random
import struct
import time
from dataclasses import dataclass, field

LIMIT = 2**20


@dataclass
class Tally:
    """How requests ended, and seconds of those that were answered right."""

    right: int = 0
    wrong: int = 0
    refused: int = 0
    late: int = 0
    failed: int = 0
    turned_away: int = 0
    lost: int = 0
    seconds: list[float] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether nobody got a wrong answer, an error or none."""
        return not (self.wrong or self.failed or self.lost)

    def note(self, text: str) -> None:
        """Keep a few of the things that went wrong."""
        if len(self.said) < 5:
            self.said.append(text)

    def __str__(self) -> str:
        told = f"{self.right} right, {self.wrong} wrong, {self.failed} failed, {self.lost} lost"
        more = {"refused": self.refused, "late": self.late, "turned away": self.turned_away}
        told += "".join(f", {count} {name}" for name, count in more.items() if count)
        return told + "".join(f"\n    {text}" for text in self.said)


@dataclass(frozen=True)
class Target:
    """A server, its model, how wide its rows are, and what to ask."""

    host: str
    port: int
    width: int
    model: str = "model"
    timeout_ms: int | None = None


class Closed(Exception):
    """The server closed the connection; ``partly`` says whether an answer had begun."""

    def __init__(self, partly: bool) -> None:
        super().__init__("closed")
        self.partly = partly


async def keep_asking(
    target: Target, tally: Tally, stop: asyncio.Event, seed: int, ended: list[float]
) -> None:
    """One connection after the other, one request after the other, until ``stop``.

    ``ended`` holds the moment when the server was asked to end, once it was: a request that was
    sent before has to be answered, a later one may be turned away.
    """
    rng = random.Random(seed)
    connection = None
    while not stop.is_set():
        values = [rng.random() for _ in range(target.width)]
        sent = None
        try:
            if connection is None:
                connection = await asyncio.open_connection(target.host, target.port, limit=LIMIT)
            sent = time.monotonic()
            status, body, keep = await ask(*connection, target, values)
            judge(tally, status, body, values, time.monotonic() - sent)
        except (OSError, Closed, asyncio.IncompleteReadError) as error:
            keep = False
            gone(tally, error, sent, ended)
            if ended:
                return
        if not keep and connection is not None:
            connection[1].close()
            connection = None
    if connection is not None:
        connection[1].close()


def gone(tally: Tally, error: Exception, sent: float | None, ended: list[float]) -> None:
    """What a connection that ended means: only after the end is that allowed, and not midway."""
    cut = isinstance(error, asyncio.IncompleteReadError) or getattr(error, "partly", False)
    if ended and not cut and (sent is None or sent > ended[0]):
        tally.turned_away += 1
    elif ended:
        tally.lost += 1
        tally.note(f"{error!r}, sent {1e3 * (ended[0] - (sent or 0)):.2f} ms before the signal")
    else:
        tally.failed += 1
        tally.note(repr(error))


async def ask(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    target: Target,
    values: list[float],
) -> tuple[int, bytes, bool]:
    """Send one request; status, body, and whether the connection stays."""
    writer.write(request(target, values))
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        raise Closed(bool(error.partial)) from error
    lines = head.decode("latin-1").lower().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return int(lines[0].split()[1]), body, headers.get("connection") != "close"


def request(target: Target, values: list[float]) -> bytes:
    """Binary tensors in, JSON out: both ways of the protocol at once."""
    raw = struct.pack(f"<{len(values)}f", *values)
    tensor = {
        "name": "image",
        "shape": [1, len(values)],
        "datatype": "FP32",
        "parameters": {"binary_data_size": len(raw)},
    }
    header = json.dumps({"inputs": [tensor]}).encode()
    deadline = f"X-Request-Timeout-Ms: {target.timeout_ms}\r\n" if target.timeout_ms else ""
    return (
        (
            f"POST /v2/models/{target.model}/infer HTTP/1.1\r\nHost: localhost\r\n"
            f"Inference-Header-Content-Length: {len(header)}\r\n{deadline}"
            f"Content-Length: {len(header) + len(raw)}\r\n\r\n"
        ).encode()
        + header
        + raw
    )


def judge(tally: Tally, status: int, body: bytes, values: list[float], seconds: float) -> None:
    """Count one answer."""
    if status == 200:
        if agrees(body, values):
            tally.right += 1
            tally.seconds.append(seconds)
        else:
            tally.wrong += 1
            tally.note(f"wrong: {body[:200]!r}")
    elif status in {429, 503}:
        tally.refused += 1
    elif status == 504:
        tally.late += 1
    else:
        tally.failed += 1
        tally.note(f"{status}: {body[:200]!r}")


def agrees(body: bytes, values: list[float]) -> bool:
    """Whether the answer is what was sent, as float32."""
    found = json.loads(body)["outputs"][0]["data"]
    return len(found) == len(values) and all(
        abs(one - other) < 1e-6 for one, other in zip(found, values, strict=True)
    )


def quantile(values: list[float], share: float) -> float:
    """The nearest rank; nothing is infinitely late."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else float("inf")
