"""The process of one job: it sets its own limits, and then does what its agent asks.

Started by ``runtimes.agent.process``; not to be run by hand.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

from runtimes.agent.channel import ChannelError, receive, send

_WATCH_SECONDS = 1.0


def main(arguments: list[str]) -> int:
    """Serve the agent at the other end of the socket whose descriptor is given."""
    channel = socket.socket(fileno=int(arguments[0]))
    limits: dict[str, int] = json.loads(arguments[1])
    limit_process(limits)
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()

    from runtimes.agent.errors_sent import told_of_error
    from runtimes.agent.operations import Session
    from runtimes.agent.protocol import encode
    from runtimes.json_values import plain

    with Session(Path.cwd()) as session:
        while True:
            try:
                frame = receive(channel, limits["frame_bytes"])
            except ChannelError:
                return 0  # the agent has no more to ask
            try:
                answer = session.answer(frame)
            except Exception as error:
                answer = encode({"error": plain(told_of_error(error, f"{Path.cwd()}/"))})
            send(channel, _fitting(answer, limits["frame_bytes"]))


def _fitting(answer: bytes, most: int) -> bytes:
    from runtimes.agent.protocol import encode

    if len(answer) <= most:
        return answer
    message = (
        f"the answer has {len(answer)} bytes and the agent sends {most} at most; run smaller "
        "batches, or start the agent with a larger --max-body"
    )
    return encode({"error": {"kind": "DataError", "message": message}})


def limit_process(limits: dict[str, int]) -> None:
    """Hold this process and its children to ``limits``."""
    for kind, name in (
        (resource.RLIMIT_AS, "memory_bytes"),
        (resource.RLIMIT_CPU, "cpu_seconds"),
        (resource.RLIMIT_FSIZE, "file_bytes"),
    ):
        _lower(kind, limits[name])
    _lower(resource.RLIMIT_CORE, 0)


def _lower(kind: int, value: int) -> None:
    """Of the time, the hard limit is a little higher: the signal then says which one it was."""
    _, hard = resource.getrlimit(kind)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    most = value + 5 if kind == resource.RLIMIT_CPU else value
    resource.setrlimit(kind, (value, most if hard == resource.RLIM_INFINITY else min(most, hard)))


def _end_with_parent(parent: int) -> None:
    """End this process and what it started when the agent is gone, whatever it is doing."""
    while os.getppid() == parent:
        time.sleep(_WATCH_SECONDS)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    found: Any = main(sys.argv[1:])
    sys.exit(found)
