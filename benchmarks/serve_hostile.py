"""Requests that no good client sends, and ways of sending them."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import struct
from collections import Counter
from collections.abc import Callable
from typing import Any

Attack = Callable[[random.Random], bytes]
INFER = "/v2/models/model/infer"


def post(body: bytes, path: str = INFER, **headers: Any) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if "Content_Length" not in headers and "Transfer_Encoding" not in headers:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


def tensor(**changes: Any) -> dict[str, Any]:
    right = {"name": "image", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
    return right | changes


def inputs(*tensors: Any) -> bytes:
    return json.dumps({"inputs": list(tensors)}).encode()


def broken_json(rng: random.Random) -> bytes:
    body = bytearray(inputs(tensor()))
    for _ in range(rng.randint(1, 6)):
        body[rng.randrange(len(body))] = rng.randrange(256)
    return post(bytes(body[: rng.randint(1, len(body))]))


def nested(rng: random.Random) -> bytes:
    depth = rng.choice([100, 10_000, 100_000])
    return post(b'{"inputs":' + b"[" * depth + b"]" * depth + b"}")


def wrong_values(rng: random.Random) -> bytes:
    return post(
        rng.choice(
            [
                inputs(tensor(shape=[-1, 4])),
                inputs(tensor(shape=[1, 2**62])),
                inputs(tensor(shape=[2**33, 2**33])),
                inputs(tensor(shape=[1, 5])),
                inputs(tensor(shape=[])),
                inputs(tensor(shape="1,4")),
                inputs(tensor(datatype="FP31")),
                inputs(tensor(datatype="INT64", data=[1, 2, 3, 2**70])),
                inputs(tensor(datatype="BYTES", data=["a", "b", "c", "d"])),
                inputs(tensor(data=[1, 2, 3, "4"])),
                inputs(tensor(data=[[1, 2], [3]])),
                inputs(tensor(data=[1e400, 2, 3, 4])),
                inputs(tensor(name="picture")),
                inputs(tensor(name="a" * 100_000)),
                inputs(tensor(), tensor()),
                inputs(*[tensor(name=f"t{number}") for number in range(2000)]),
                inputs(),
                b"",
                b"[]",
                b"null",
                b'{"inputs":{}}',
                b'{"inputs":[{"name":"image","shape":[1,1],"datatype":"FP32","data":[NaN]}]}',
                b"\xff\xfe{}",
            ]
        )
    )


def broken_binary(rng: random.Random) -> bytes:
    size = rng.choice([16, 15, 0, -1, 2**40, "many", None, 1.5])
    header = inputs(
        {
            "name": "image",
            "shape": rng.choice([[1, 4], [1, -4], [2**40, 1], [0, 4]]),
            "datatype": rng.choice(["FP32", "FP64", "BYTES", "BOOL"]),
            "parameters": {"binary_data_size": size},
        }
    )
    length = rng.choice([len(header), len(header) - 1, len(header) + 99, -1, 2**64, "x", ""])
    raw = rng.randbytes(rng.choice([0, 15, 16, 17, 64]))
    return post(header + raw, Inference_Header_Content_Length=length)


def header_bomb(rng: random.Random) -> bytes:
    if rng.random() < 0.5:
        return post(b"{}", **{f"X_{number}": "a" * 40 for number in range(5000)})
    return post(b"{}", X_Long="a" * rng.choice([2**16, 2**20]))


def not_http(rng: random.Random) -> bytes:
    return rng.choice(
        [
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + rng.randbytes(200),
            b"GET /v2\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"POST " + b"/" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
            rng.randbytes(500),
            b"\r\n" * 2000,
            post(b"{}", Content_Length="2, 3"),
            post(b"{}", Content_Length="-1"),
            post(b"zz\r\n{}\r\n0\r\n\r\n", Transfer_Encoding="chunked"),
            post(b"2\r\n{}\r\n0\r\n\r\n", Transfer_Encoding="chunked", Content_Length=2),
            post(b"{}", Content_Length=2**62),
        ]
    )


def elsewhere(rng: random.Random) -> bytes:
    path = rng.choice(
        [
            "/../../etc/passwd",
            "/page/../../../etc/passwd",
            "/page/%2e%2e/%2e%2e/errors.py",
            "/v2/models/%00/infer",
            "/v2/models/model/versions/999999999999999999999/infer",
            "/v2/repository/models/model/unload",
            "/v2/repository/models/..%2f..%2fetc/load",
            "/" + "a/" * 2000,
        ]
    )
    return post(b"{}", path, Authorization=rng.choice(["Bearer wrong", "Basic ?", "é", ""]))


ATTACKS: tuple[Attack, ...] = (
    broken_json,
    nested,
    wrong_values,
    broken_binary,
    header_bomb,
    not_http,
    elsewhere,
)


async def attack(host: str, port: int, rng: random.Random, seen: Counter[str]) -> None:
    """One hostile request, sent whole, in pieces, half closed, or left in the middle."""
    kind = rng.choice(ATTACKS)
    body = kind(rng)
    manner = rng.choice(["whole", "whole", "whole", "pieces", "half closed", "abandoned", "reset"])
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError:
        seen["no connection"] += 1
        return
    try:
        await send(writer, body, manner, rng)
        if manner in {"abandoned", "reset"}:
            seen[manner] += 1
            return
        seen[await answer(reader, kind)] += 1
    except OSError:
        seen["closed"] += 1
    finally:
        if manner == "reset":
            linger = struct.pack("ii", 1, 0)
            raw: Any = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.close()


async def send(writer: asyncio.StreamWriter, body: bytes, manner: str, rng: random.Random) -> None:
    if manner in {"abandoned", "reset"}:
        body = body[: rng.randint(1, len(body))]
    if manner == "pieces":
        cut = sorted(rng.randrange(len(body) + 1) for _ in range(3))
        pieces = [body[a:b] for a, b in zip([0, *cut], [*cut, len(body)], strict=True)]
    else:
        pieces = [body]
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        if len(pieces) > 1:
            await asyncio.sleep(rng.random() / 50)
    if manner == "half closed" and writer.can_write_eof():
        writer.write_eof()


async def answer(reader: asyncio.StreamReader, kind: Attack) -> str:
    """The status; a request that the server waits for more of gets none soon."""
    try:
        line = await asyncio.wait_for(reader.readline(), 2)
    except TimeoutError:
        return "waits"
    status = line[9:12].decode("latin-1") if line.startswith(b"HTTP/1.") else ""
    if status.startswith("5") and status not in {"501", "503", "505"}:
        return f"{status} to {kind.__name__}"
    return status or "closed"


async def hold_idle(host: str, port: int, count: int) -> list[asyncio.StreamWriter]:
    """Connections that say nothing, or the first half of a head, and stay."""
    held = []
    for number in range(count):
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError:
            break
        if number % 2:
            writer.write(b"POST /v2/models/model/infer HTTP/1.1\r\nHost:")
        held.append(writer)
    return held
