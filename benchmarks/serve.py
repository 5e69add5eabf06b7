"""What does serving cost beyond the model? CPU of the server's processes for every request.

    python benchmarks/serve.py [--model model.onnx] [--cache FOLDER] [--only kilnx,mlserver]
                               [--parts model,payload,grpc] [--clients 1,8,64] [--seconds 4]
                               [--rounds 3] [--json FILE]

First a model (the demo's digits, trained once into --cache, unless --model names another with one
float32 input called image) behind kilnx, with and without batching and as a monitored bundle, a
bare ASGI callable, MLServer, KServe, BentoML and LitServe, each installed by this script into an
environment of its own under --cache. Then an identity model behind kilnx and a bare echo, with
tensors of 1 kB and 110 kB, binary and JSON, and by gRPC.

CPU is that of the whole process tree, user and system, from /proc, while wrk keeps as many
connections busy as it is told; servers take turns in rounds, and the median counts. The overhead is
that less what ONNX Runtime uses for the same input in a process of its own. All servers have one
process and one thread for the model, and what logs requests is off. Answers are compared with ONNX
Runtime's before anything is timed. Needs wrk (Debian: apt-get install wrk).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
from serve_cases import Case, Row, grpc_load, http_cases, measured, open_all, serving
from serve_load import wrk
from serve_models import demo_model, identity_model, model_us, samples_for
from serve_payloads import Payload, several, v2_binary, v2_json
from serve_process import free_port
from serve_systems import ECHO, SYSTEMS

WIDTHS = (256, 27_648)
DIFFERENT = 16


def main() -> int:
    options = arguments()
    wrk()
    parts = {"model": model_part, "payload": payload_part, "grpc": grpc_part}
    rows = [row for name in options.parts.split(",") for row in parts[name](options)]
    for line in table(rows):
        print(line)
    if options.json:
        found = json.dumps([asdict(row) for row in rows], indent=1)
        options.json.write_text(found + "\n", encoding="utf-8")
    return int(any(row.failed for row in rows))


def model_part(options: argparse.Namespace) -> list[Row]:
    """A real model behind every server."""
    model = (options.model or demo_model(options.cache)).resolve()
    wanted = options.only.split(",") if options.only else None
    systems = [one for one in SYSTEMS if wanted is None or one.name in wanted]
    samples = samples_for(model)
    cases: list[Case] = []
    with ExitStack() as stack:
        for system, server in open_all(stack, systems, model, options.cache):
            asked = (several(make, name, "image", samples) for name, make in system.formats.items())
            cases += http_cases("model", server, asked, model)
        return timed(cases, options)


def payload_part(options: argparse.Namespace) -> list[Row]:
    """Requests of all sizes to a model that only copies; the floor is an echo."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        model = identity_model(Path(folder))
        cases = [
            case
            for _, server in open_all(stack, (SYSTEMS[0], ECHO), model, options.cache)
            for case in http_cases("payload", server, payloads(), model)
        ]
        return timed(cases, options)


def payloads() -> Iterator[Payload]:
    for width in WIDTHS:
        rows = np.random.default_rng(0).random((DIFFERENT, width), np.float32)
        yield several(v2_binary, f"binary {4 * width / 1000:.0f} kB", "image", rows)
        yield several(v2_json, f"JSON of {width} floats", "image", rows)


def grpc_part(options: argparse.Namespace) -> list[Row]:
    """The same tensors in gRPC's raw contents."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        model = identity_model(Path(folder))
        more = ("--grpc-port", str(port))
        with serving(SYSTEMS[0], model, options.cache, more=more) as server:
            cases = []
            for width in WIDTHS:
                rows = np.random.default_rng(0).random((1, width), np.float32)
                run = partial(grpc_load, f"127.0.0.1:{port}", server.pid, rows)
                name = f"gRPC {rows.nbytes / 1000:.0f} kB"
                cases.append(
                    Case("grpc", server.name, server.version, name, model_us(model, rows), run)
                )
            return timed(cases, options)


def timed(cases: Sequence[Case], options: argparse.Namespace) -> list[Row]:
    clients = [int(number) for number in options.clients.split(",")]
    return measured(cases, clients, seconds=options.seconds, rounds=options.rounds)


def table(rows: Sequence[Row]) -> Iterator[str]:
    """One line a row; × is the CPU of a request next to kilnx' for the same request."""
    title = ("server", "request", "clients", "CPU µs", "model", "overhead", "×", "requests/s")
    shape = "{:<24} {:<22} {:>7} {:>9} {:>7} {:>9} {:>6} {:>10} {:>8} {:>8} {:>6}"
    yield shape.format(*title, "p50 ms", "p99 ms", "failed")
    own = {(row.payload, row.clients): row.cpu_us for row in rows if row.server == "kilnx"}
    for row in rows:
        base = own.get((row.payload, row.clients))
        yield shape.format(
            f"{row.server} {row.version}",
            row.payload,
            row.clients,
            f"{row.cpu_us:,.0f}",
            f"{row.model_us:,.0f}",
            f"{row.overhead_us:,.0f}",
            f"{row.cpu_us / base:.2f}" if base else "",
            f"{row.per_second:,.0f}",
            f"{row.p50_ms:.2f}",
            f"{row.p99_ms:.2f}",
            row.failed,
        )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="an ONNX file with one input, image")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache/kilnx-benchmarks")
    parser.add_argument("--only", help=f"of {', '.join(one.name for one in SYSTEMS)}")
    parser.add_argument("--parts", default="model,payload,grpc")
    parser.add_argument("--clients", default="1,8,64")
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write all rows there")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
