"""A process that runs a task on the shards that it is told: ``python -m … DESCRIPTOR``.

It speaks with the process that started it alone, over a socket that both were born with.
"""

from __future__ import annotations

import pickle
import socket
import sys

from runtimes.agent.channel import ChannelError, receive, send
from runtimes.distributed.answers import answer

MOST_BYTES = 2**40


def main(descriptor: int) -> None:
    """Take the task, then answer for one shard after the other until the other side ends."""
    with socket.socket(fileno=descriptor) as channel:
        try:
            task = receive(channel, MOST_BYTES)
            while True:
                shard = pickle.loads(receive(channel, MOST_BYTES))
                send(channel, pickle.dumps(answer(task, shard), protocol=5))
        except ChannelError:
            return


if __name__ == "__main__":
    main(int(sys.argv[1]))
