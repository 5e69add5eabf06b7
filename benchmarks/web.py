"""How fast are models in WebAssembly, in Node and in a browser, and do both answer alike?

    python benchmarks/web.py fp32.onnx int8.onnx --threads 1,2

The models run in turn, in rounds of random order, on the same inputs: in ONNX Runtime's WebAssembly
in Node, where kilnx measures for the target onnxruntime-web, and on a page in headless Chromium,
where models ship. The ratio is that of the medians, to the first model. Small differences between
Node and the browser are the rule: V8 compiles the same code in both.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from web_server import Pages, serve

from runtimes.base import Array, Feed
from runtimes.data.timing_inputs import made_up_inputs
from runtimes.engines.onnxruntime_js.packages import find_package
from runtimes.engines.onnxruntime_js.runtime import WebRuntime
from runtimes.profiling.timing import interleave

HERE = Path(__file__).parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


@dataclass(frozen=True)
class Measured:
    """Milliseconds of every run of each model, and its first output."""

    place: str
    threads: int
    times: list[list[float]]
    outputs: list[Array]


def in_node(models: Sequence[Path], feed: Feed, threads: int, seconds: float) -> Measured:
    with ExitStack() as stack:
        runtimes = [stack.enter_context(WebRuntime(one, threads=threads)) for one in models]
        outputs = [next(iter(one.run(feed).values())) for one in runtimes]
        calls = [one.prepare(feed) for one in runtimes]
        times = interleave(calls, min_time=seconds, max_time=3 * seconds) * 1e3
    return Measured("Node", threads, times.tolist(), outputs)


def in_browser(
    browser: str, models: Sequence[Path], feed: Feed, threads: int, options: argparse.Namespace
) -> Measured:
    found = run_page(browser, pages_of(models, feed, threads, options), options.timeout)
    if not found["isolated"]:
        raise SystemExit("the page is not isolated, so that it has no threads")
    shapes = [np.array(output, np.float64) for output in found["outputs"]]
    return Measured("Chromium", found["threads"], found["times"], shapes)


def pages_of(
    models: Sequence[Path], feed: Feed, threads: int, options: argparse.Namespace
) -> Pages:
    """The page, the package, the models, and what to do with them."""
    plan = {
        "threads": threads,
        "warm_up": options.warm_up,
        "rounds": options.rounds,
        "options": {"graphOptimizationLevel": "all"},
        "models": [f"/models/{place}" for place in range(len(models))],
        "inputs": [
            {
                "name": name,
                "type": array.dtype.name,
                "dims": array.shape,
                "path": f"/inputs/{place}",
            }
            for place, (name, array) in enumerate(feed.items())
        ],
    }
    dist = find_package("onnxruntime-web").folder / "dist"
    served: dict[str, bytes | Path] = {f"/ort/{one.name}": one for one in dist.iterdir()}
    served |= {f"/models/{place}": path for place, path in enumerate(models)}
    served |= {f"/inputs/{place}": one.tobytes() for place, one in enumerate(feed.values())}
    served |= {"/plan.json": json.dumps(plan).encode()}
    served |= {"/index.html": HERE / "web_page.html", "/page.mjs": HERE / "web_page.mjs"}
    return Pages(served)


def run_page(browser: str, pages: Pages, seconds: float) -> dict[str, Any]:
    """What the page posts from a browser that is started for it and ended after it."""
    # Root has no sandbox to put a browser into, as in a container.
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with TemporaryDirectory() as profile, serve(pages) as address:
        command = [browser, "--headless=new", "--disable-gpu", *sandbox]
        process = subprocess.Popen(
            [*command, "--no-first-run", f"--user-data-dir={profile}", f"{address}/index.html"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            found = pages.wait(seconds)
        except TimeoutError as error:
            raise SystemExit(str(error)) from error
        finally:
            process.terminate()
            process.wait()
    if "error" in found:
        raise SystemExit(f"the page failed: {found['error']}")
    return found


def report(models: Sequence[Path], measured: Measured, node: Measured | None) -> None:
    first = float(np.median(measured.times[0]))
    for place, model in enumerate(models):
        median = float(np.median(measured.times[place]))
        fastest = min(measured.times[place])
        print(
            f"{measured.place:9} {measured.threads:7} {model.name:32} {median:8.2f} ms "
            f"{fastest:8.2f} ms {first / median:6.2f}× {_difference(measured, node, place):>12}"
        )


def _difference(measured: Measured, node: Measured | None, place: int) -> str:
    if node is None or node is measured:
        return "–"
    ours = node.outputs[place].astype(np.float64).reshape(-1)
    return f"{np.abs(measured.outputs[place].reshape(-1) - ours).max(initial=0):.2e}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--threads", default="1", help="numbers, separated by commas")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=4.0, help="in Node, all models together")
    parser.add_argument("--rounds", type=int, default=50, help="in the browser")
    parser.add_argument("--warm-up", type=int, default=40, help="rounds in the browser")
    parser.add_argument("--timeout", type=float, default=240.0, help="seconds for the page")
    parser.add_argument("--browser", default=next(filter(shutil.which, BROWSERS), None))
    options = parser.parse_args()
    with WebRuntime(options.models[0], threads=1) as runtime:
        feed = made_up_inputs(runtime.inputs, options.batch, 0).feed
        print(*(runtime.placement.counts or ()))
    head = ("place", "threads", "model", "median", "fastest", "ratio", "from Node")
    print("{:9} {:>7} {:32} {:>11} {:>11} {:>7} {:>12}".format(*head))
    for threads in map(int, options.threads.split(",")):
        node = in_node(options.models, feed, threads, options.seconds)
        report(options.models, node, node)
        if options.browser:
            found = in_browser(options.browser, options.models, feed, threads, options)
            report(options.models, found, node)
    if not options.browser:
        print("no browser was found; name one with --browser")


if __name__ == "__main__":
    main()
