"""Reloads while clients ask: none of them notices, and memory is given back."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import urllib.error
import urllib.request
from pathlib import Path

from process_tree import private_bytes
from serve_client import quantile
from serve_soak_model import BESIDE, write_identity
from serve_soak_server import TOKEN, Soaked, asked, faults, soaked

WEIGHTS = 16 * 2**20
SETTLED = 5
MOST_GROWTH = 0.05


async def reloads(
    options: argparse.Namespace, folder: Path, rng: random.Random
) -> tuple[bool, str]:
    """Replace the model again and again; a broken file must leave the old one at work."""
    refused = loaded = 0
    with soaked(folder) as server:
        async with asked(server.target(16), options.clients) as tally:
            for step in range(options.reloads):
                await asyncio.sleep(rng.uniform(0.05, 0.3))
                broken = step % 5 == 4
                write_identity(server.model, f"number {step}")
                if broken:
                    server.model.write_bytes(server.model.read_bytes()[:-20])
                status = await asyncio.to_thread(reload, server)
                refused += broken and status >= 400
                loaded += not broken and status == 200
            write_identity(server.model, "last")
    broken_ones = options.reloads // 5
    holds = tally.clean and not tally.refused and refused == broken_ones
    holds &= loaded == options.reloads - broken_ones
    slowest = f"slowest answer {1e3 * quantile(tally.seconds, 1):.0f} ms"
    return holds, f"{loaded} reloads, {refused} broken files refused; {tally}; {slowest}"


async def memory(options: argparse.Namespace, folder: Path, rng: random.Random) -> tuple[bool, str]:
    """Memory of the processes after the first reloads, and after all of them."""
    with soaked(folder, weights=WEIGHTS) as server:
        async with asked(server.target(16), 2) as tally:
            first = last = 0
            for step in range(options.memory_reloads):
                write_identity(server.model, f"number {step}", weights=WEIGHTS)
                status = await asyncio.to_thread(reload, server)
                if status != 200:
                    return False, f"reload {step} was answered with {status}"
                await asyncio.sleep(0.2)
                if step + 1 == SETTLED:
                    first = private_bytes(server.process.pid)
            last = private_bytes(server.process.pid)
    growth = last / first - 1
    text = f"{first / 2**20:.1f} MiB after {SETTLED} reloads, {last / 2**20:.1f} MiB after "
    text += f"{options.memory_reloads} ({growth:+.1%}); {tally}"
    return tally.clean and growth <= MOST_GROWTH, text


async def changed(
    options: argparse.Namespace, folder: Path, rng: random.Random
) -> tuple[bool, str]:
    """Write over the files that are served, where they lie, and cut them off."""
    with soaked(folder, weights=WEIGHTS, beside=True) as server:
        async with asked(server.target(16), 2) as tally:
            await asyncio.sleep(1)
            for file in (folder / BESIDE, server.model):
                with file.open("r+b") as opened:
                    opened.write(b"\xff" * file.stat().st_size)  # as floats: not a number
                await asyncio.sleep(1)
                os.truncate(file, 10)
                await asyncio.sleep(1)
            before = tally.right
            status = await asyncio.to_thread(reload, server)
            await asyncio.sleep(1)
        lives = server.process.poll() is None and not faults(server.log)
    holds = lives and tally.clean and status >= 400 and tally.right > before
    return holds, f"{'lives' if lives else 'died'}; a reload is answered with {status}; {tally}"


def reload(server: Soaked) -> int:
    """Ask for the model to be loaded anew; the status."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.port}/v2/repository/models/model/load",
        json.dumps({}).encode(),
        {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
