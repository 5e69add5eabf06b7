"""SIGTERM while clients ask: what was sent before is answered whole."""

from __future__ import annotations

import argparse
import asyncio
import random
import subprocess
import time
from pathlib import Path

from serve_soak_server import asked, faults, soaked


async def sigterm(
    options: argparse.Namespace, folder: Path, rng: random.Random
) -> tuple[bool, str]:
    """End the server at a random moment, as often as ``--trials`` says."""
    good = answered = away = 0
    said: list[str] = []
    for trial in range(options.trials):
        place = folder / str(trial)
        place.mkdir()
        ended: list[float] = []
        # A slow model keeps requests in the queue, a fast one ends between two of them.
        with soaked(place, rounds=rng.choice([0, 300])) as server:
            async with asked(server.target(256), options.clients, ended) as tally:
                await asyncio.sleep(rng.uniform(0.1, 0.6))
                ended.append(time.monotonic())
                server.process.terminate()
                code = await asyncio.to_thread(ending, server.process)
            clean = tally.clean and code == 0 and tally.right > 0 and not faults(server.log)
        good += clean
        answered += tally.right
        away += tally.turned_away + tally.refused
        if not clean and len(said) < 5:
            said.append(f"trial {trial}: ended with {code}; {tally}")
    text = f"{good} of {options.trials}: {answered} answered, {away} turned away after the signal"
    return good == options.trials, "\n    ".join([text, *said])


def ending(process: subprocess.Popen[bytes]) -> int | None:
    """The exit code; None if it does not end in time."""
    try:
        return process.wait(60)
    except subprocess.TimeoutExpired:
        return None
