"""More requests than a server can answer, and requests that nobody should send."""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from collections import Counter
from pathlib import Path

from process_tree import open_files, private_bytes
from serve_client import Closed, Tally, Target, ask, judge, quantile
from serve_hostile import attack, hold_idle
from serve_soak_server import asked, faults, soaked

Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]
ROUNDS = 1000
WIDTH = 256
DEADLINE_MS = 250
AT_ONCE = 32
# Enough clients that requests are run together, as they are under too many of them.
CROWD = 64


async def overload(
    options: argparse.Namespace, folder: Path, rng: random.Random
) -> tuple[bool, str]:
    """Find what it can answer, then offer twice that, whether it answers or not."""
    with soaked(folder, rounds=ROUNDS) as server:
        async with asked(server.target(WIDTH), CROWD) as alone:
            await asyncio.sleep(3)
        capacity = alone.right / 3
        target = server.target(WIDTH, DEADLINE_MS)
        tally = await offered(target, 2 * capacity, options.seconds, rng)
        lives = server.process.poll() is None and not faults(server.log)
    # A request that was accepted and then ran out of time counts as never answered.
    accepted = tally.seconds + [float("inf")] * tally.late
    p99 = 1e3 * quantile(accepted, 0.99)
    goodput = tally.right / options.seconds / max(capacity, 1e-9)
    holds = lives and tally.clean and tally.refused > 0 and p99 <= DEADLINE_MS and goodput > 0.5
    text = f"{capacity:.0f}/s alone, offered twice that: {tally}; p99 of accepted {p99:.0f} ms, "
    return holds, text + f"deadline {DEADLINE_MS} ms; {goodput:.0%} of what it can do"


async def offered(target: Target, rate: float, seconds: float, rng: random.Random) -> Tally:
    """Requests at random moments, ``rate`` a second, on connections that are used again."""
    tally = Tally()
    tasks: set[asyncio.Task[None]] = set()
    spare: list[Pair] = []
    start, due = time.monotonic(), 0.0
    while due < seconds:
        due += rng.expovariate(rate)
        await asyncio.sleep(max(0.0, start + due - time.monotonic()))
        task = asyncio.create_task(once(target, tally, spare, rng.random()))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    return tally


async def once(
    target: Target,
    tally: Tally,
    spare: list[Pair],
    seed: float,
) -> None:
    values = [seed] * target.width
    start = time.monotonic()
    try:
        pair = spare.pop() if spare else await asyncio.open_connection(target.host, target.port)
        status, body, keep = await ask(*pair, target, values)
        judge(tally, status, body, values, time.monotonic() - start)
    except (OSError, Closed, asyncio.IncompleteReadError) as error:
        tally.failed += 1
        tally.note(repr(error))
        return
    if keep:
        spare.append(pair)
    else:
        pair[1].close()


async def hostile(
    options: argparse.Namespace, folder: Path, rng: random.Random
) -> tuple[bool, str]:
    """Attack from many connections at once, beside good clients and idle connections."""
    seen: Counter[str] = Counter()
    with soaked(folder) as server:
        pid = server.process.pid
        before = private_bytes(pid), open_files(pid)
        idle = await hold_idle("127.0.0.1", server.port, options.idle)
        async with asked(server.target(16), 4) as tally:
            left = iter(range(options.hostile))

            async def attacker() -> None:
                for _ in left:
                    await attack("127.0.0.1", server.port, rng, seen)

            await asyncio.gather(*(attacker() for _ in range(AT_ONCE)))
        for writer in idle:
            writer.close()
        await asyncio.sleep(2)
        lives = server.process.poll() is None
        after = private_bytes(pid), open_files(pid)
        found = faults(server.log)
    errors = {name: count for name, count in seen.items() if " to " in name}
    holds = lives and tally.clean and tally.right > 0 and not errors and not found
    holds &= len(idle) == options.idle and after[1] <= before[1] + 16
    text = f"{sum(seen.values())} hostile, {len(idle)} idle: {dict(seen.most_common())}; "
    text += f"others: {tally}; {before[0] / 2**20:.0f} → {after[0] / 2**20:.0f} MiB, "
    text += f"{before[1]} → {after[1]} files open"
    return holds, text + (f"; {len(found)} tracebacks in the log" if found else "")
