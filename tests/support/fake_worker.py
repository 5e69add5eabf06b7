"""A process that speaks the frames of the Node worker, and misbehaves as it is told.

python fake_worker.py MODE ANSWER_DESCRIPTOR
"""

from __future__ import annotations

import json
import os
import struct
import sys
import time

PREFIX = struct.Struct("<4sIQ")


def main(mode: str, answers: int) -> None:
    if mode == "no-start":
        sys.exit("SyntaxError: nothing here starts")
    if mode == "refuses":
        send(answers, {"error": "not today"})
    if mode == "mute":
        time.sleep(600)
    send(answers, {"ready": True, "pid": os.getpid()})
    while asked := receive():
        header, body = asked
        what = header["do"]
        if what == "echo":
            send(answers, {"got": header}, body)
        elif what == "fail":
            send(answers, {"error": "a matmul of nothing"})
        elif what == "print":
            print("KNXF" * 100_000, flush=True)
            send(answers, {})
        elif what == "hang":
            time.sleep(600)
        elif what == "die":
            os.kill(os.getpid(), header["signal"])
        elif what == "exit":
            print("a warning\nRangeError: too large\n  at somewhere", file=sys.stderr, flush=True)
            sys.exit(3)
        elif what == "raw":
            os.write(answers, body)
        elif what == "half":
            os.write(answers, body)
            os._exit(0)


def send(answers: int, header: dict[str, object], body: bytes = b"") -> None:
    text = json.dumps(header).encode()
    left = memoryview(PREFIX.pack(b"KNXF", len(text), len(body)) + text + body)
    while left:
        left = left[os.write(answers, left) :]


def receive() -> tuple[dict[str, object], bytes] | None:
    prefix = sys.stdin.buffer.read(PREFIX.size)
    if len(prefix) < PREFIX.size:
        return None
    _, header, body = PREFIX.unpack(prefix)
    return json.loads(sys.stdin.buffer.read(header)), sys.stdin.buffer.read(body)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
