"""Load from wrk (https://github.com/wg/wrk), and CPU of a server while it is under load."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from process_tree import cpu_seconds
from serve_payloads import Payload

SCRIPT = Path(__file__).with_suffix(".lua")


@dataclass(frozen=True)
class Load:
    """What wrk saw, and CPU seconds that the server's processes used meanwhile."""

    requests: int
    failed: int
    seconds: float
    cpu_seconds: float
    p50_ms: float
    p99_ms: float

    @property
    def cpu_us(self) -> float:
        """CPU microseconds a request."""
        return 1e6 * self.cpu_seconds / max(self.requests, 1)


def wrk() -> str:
    """The program; raises ``SystemExit`` that says where to get it."""
    found = shutil.which("wrk")
    if found is None:
        raise SystemExit("wrk is not installed: apt-get install wrk")
    return found


def load(
    url: str, payload: Payload, clients: int, seconds: float, server: int, *, token: str = ""
) -> Load:
    """``clients`` connections that each send the next request when the answer is there.

    CPU is read before wrk starts and after it has ended, so that it covers every request that wrk
    counted, and at most one more from each client.
    """
    with tempfile.TemporaryDirectory() as scratch:
        for place, body in enumerate((payload.body, *payload.others), start=1):
            (Path(scratch) / f"body-{place}").write_bytes(body)
        headers = dict(payload.headers)
        if token:
            headers["Authorization"] = f"Bearer {token}"
        environment = {
            **os.environ,
            "WRK_BODIES": f"{scratch}/body-",
            "WRK_HEADERS": "\n".join(f"{name}: {value}" for name, value in headers.items()),
        }
        command = [wrk(), "-t1", f"-c{clients}", f"-d{round(seconds)}s", "--timeout", "30s"]
        before = cpu_seconds(server)
        done = subprocess.run(
            [*command, "-s", str(SCRIPT), url],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )
        used = cpu_seconds(server) - before
    if done.returncode:
        raise RuntimeError(f"wrk failed: {done.stderr.strip() or done.stdout.strip()}")
    found = json.loads(done.stdout.splitlines()[-1])
    return Load(
        requests=found["requests"],
        failed=found["failed"],
        seconds=found["duration_us"] / 1e6,
        cpu_seconds=used,
        p50_ms=found["p50_us"] / 1e3,
        p99_ms=found["p99_us"] / 1e3,
    )
