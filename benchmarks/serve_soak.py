"""Does a server keep its word when things go badly? Reloads, SIGTERM, overload, hostile requests.

    python benchmarks/serve_soak.py [--only reloads,memory,changed,sigterm,overload,hostile]
                                    [--trials 100] [--hostile 10000] [--seed 0]

Clients that know the right answer to each of their requests ask kilnx serve all the while:

reloads   20 reloads, every fifth of a broken file: no request fails, the broken ones are refused.
memory    50 reloads of a model of 16 MiB: memory within 5% of what it was after the first five.
changed   the files that are served are written over and cut off: nobody notices, until a reload,
          which is refused.
sigterm   the server is asked to end at a random moment, again and again: whatever was sent before
          is answered whole, and the server ends with 0.
overload  twice the requests that it can answer, each with a deadline: of those that it accepts, 99%
          are answered within it; the others are told at once to come back.
hostile   malformed, slow, half closed and cut requests, header bombs, idle connections by the
          thousand: the server lives, answers none of them with 500, and everybody else right.

Prints one line a part and exits with 1 where one does not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from serve_soak_load import hostile, overload
from serve_soak_reload import changed, memory, reloads
from serve_soak_stop import sigterm

Part = Callable[[argparse.Namespace, Path, random.Random], Coroutine[Any, Any, tuple[bool, str]]]
PARTS: dict[str, Part] = {
    "reloads": reloads,
    "memory": memory,
    "changed": changed,
    "sigterm": sigterm,
    "overload": overload,
    "hostile": hostile,
}


def main() -> int:
    options = arguments()
    wrong = 0
    for name in options.only.split(","):
        with tempfile.TemporaryDirectory() as scratch:
            part = PARTS[name](options, Path(scratch), random.Random(options.seed))
            holds, text = asyncio.run(part)
        wrong += not holds
        print(f"{name:<9} {'holds' if holds else 'FAILS'}  {text}", flush=True)
    return int(wrong > 0)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--trials", type=int, default=100, help="how often the server is ended")
    parser.add_argument("--hostile", type=int, default=10_000, help="hostile requests")
    parser.add_argument("--idle", type=int, default=2000, help="idle connections")
    parser.add_argument("--reloads", type=int, default=20)
    parser.add_argument("--memory-reloads", type=int, default=50)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=10.0, help="of overload")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
