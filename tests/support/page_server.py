"""A stand-in for ``kilnx serve`` that serves its page and answers it, and Chromium to drive it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from runtimes.serving.page import PAGE_HEADERS, page_response

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DARK = b"@media (prefers-color-scheme: dark)"
LABELS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

# The page in a frame of the wanted width, beside a script that uses it as a person would.
DRIVER = """<!doctype html><html lang="en"><title>driver</title><style>body{margin:0}</style>
<iframe title="page" src="/" style="width:%(width)dpx;height:%(height)dpx;border:0"></iframe>
%(hold)s
<script type="module">
const frame = document.querySelector("iframe");
const page = () => frame.contentDocument;
const at = (id) => page().getElementById(id);
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
async function until(found, what) {
  for (let step = 0; step < 400; step += 1) {
    try { if (found()) return; } catch {}
    await pause(25);
  }
  throw new Error("waited in vain for " + (what ?? found));
}
function pointer(target, kind, x, y) {
  const box = target.getBoundingClientRect();
  target.dispatchEvent(new frame.contentWindow.PointerEvent(kind, {
    bubbles: true, button: 0, cancelable: true, pointerId: 1,
    clientX: box.left + x * box.width, clientY: box.top + y * box.height}));
}
function draw(points) {
  pointer(at("canvas"), "pointerdown", ...points[0]);
  for (const point of points.slice(1)) pointer(at("canvas"), "pointermove", ...point);
  pointer(at("canvas"), "pointerup", ...points.at(-1));
}
function key(name, options = {}) {
  at("canvas").dispatchEvent(new frame.contentWindow.KeyboardEvent("keydown",
    {key: name, bubbles: true, cancelable: true, ...options}));
}
// What axe-core finds wrong now; it is loaded into the page as a script of its own origin.
async function axe() {
  if (!frame.contentWindow.axe) {
    const script = page().createElement("script");
    script.src = "/axe.js";
    page().head.append(script);
    await until(() => frame.contentWindow.axe, "axe-core");
  }
  const found = await frame.contentWindow.axe.run();
  return found.violations.map(({id, help, nodes}) =>
    ({id, help, nodes: nodes.map((node) => node.target.join(" "))}));
}
const results = {};
frame.contentWindow.addEventListener("securitypolicyviolation", (event) => {
  (results.violations ??= []).push(event.violatedDirective + " " + event.blockedURI);
});
try {
  await until(() => page().readyState === "complete");
  %(script)s
} catch (error) { results.error = String(error.stack ?? error); }
await fetch("/result", {method: "POST", body: JSON.stringify(results)});
</script></html>"""


def watched(*, alarm: bool = False) -> dict[str, Any]:
    """The state of a monitor, as ``ModelMonitor.status()`` gives it."""
    feature = {"feature": "image: contrast", "wealth": 500.0 if alarm else 3.0, "bin": "0.1 to 0.2"}
    feature |= {"expected": 0.05, "recent": 0.6 if alarm else 0.07, "distance": 0.55}
    test = {"alpha": 0.0025, "threshold": 400.0, "peak": 500.0, "observations": 60, "since": 12}
    calm = {**test, "wealth": 3.0, "first_alarm": None, "alarm": False}
    inputs = {**test, "wealth": 500.0, "first_alarm": 48, "alarm": True} if alarm else calm
    event = {"event": "alarm", "group": "inputs", "time": "2026-11-30T03:10:00+00:00"}
    shadow = {"samples": 60, "disagreement": 0.01, "sqnr_db": 24.0, "failures": 0}
    metric = {"name": "top1", "labels": 0, "served": None, "low": None, "high": None}
    return {
        "model": "digits",
        "version": "1",
        "state": "fp32" if alarm else "compressed",
        "uses_fp32": alarm,
        "standing": ["inputs"] if alarm else [],
        "inputs": {**inputs, "features": [feature]},
        "saturation": {**calm, "features": []},
        "shadow": {**calm, "features": [], **shadow},
        "latency": {},
        "errors": {"400": 2},
        "metric": {**metric, "reported": 0.99},
        "alarms": {"count": int(alarm), "events": [event] if alarm else []},
        "cost": {"requests": 1200, "recorded": 60},
        "notes": [],
    }


@dataclass
class FakeServer:
    """What the stand-in answers, and the requests that it was asked.

    ``monitor`` is the state of the one model. ``refuses`` is a status and a message for every
    inference. With a ``token``, nothing else is answered without it.
    """

    monitor: dict[str, Any] | None = None
    inputs: list[dict[str, Any]] = field(
        default_factory=lambda: [{"name": "image", "datatype": "FP32", "shape": [-1, 16, 16, 1]}]
    )
    outputs: list[dict[str, Any]] = field(
        default_factory=lambda: [{"name": "digit", "datatype": "FP32", "shape": [-1, 10]}]
    )
    labels: tuple[str, ...] = LABELS
    token: str | None = None
    refuses: tuple[int, str] | None = None
    dark: bool = False
    axe: str = ""
    asked: list[tuple[str, Any]] = field(default_factory=list)

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """Status and document of one call of the API."""
        model = "/v2/models/digits/versions/1"
        answers = {
            ("GET", "/v2"): {"name": "kilnx", "version": "9.9"},
            ("POST", "/v2/repository/index"): [
                {"name": "digits", "version": "1", "state": "READY", "reason": ""},
                {"name": "broken", "version": "1", "state": "UNAVAILABLE", "reason": "no"},
            ],
            ("GET", model): {
                "name": "digits",
                "versions": ["1"],
                "platform": "onnx",
                "inputs": self.inputs,
                "outputs": self.outputs,
            },
            ("GET", model + "/stats"): {"model_stats": [statistics(len(self.asked))]},
            ("POST", model + "/feedback"): {"accepted": 1},
        }
        if self.monitor is not None:
            answers["GET", "/monitor"] = {"models": {"digits": {"1": self.monitor}}}
        if (method, path) == ("POST", model + "/infer"):
            return self.inferred(body)
        if (method, path) not in answers:
            return 404, {"error": f"nothing at {path}"}
        if path.endswith("/feedback"):
            self.asked.append((path, body))
        return 200, answers[method, path]

    def inferred(self, body: Any) -> tuple[int, Any]:
        """Scores that favour the class of the brightest row, as labels where asked for."""
        self.asked.append(("infer", body))
        if self.refuses:
            return self.refuses[0], {"error": self.refuses[1]}
        outputs = []
        for wanted in body["outputs"]:
            data = body["inputs"][0]["data"]
            rows = [sum(map(float, data[row::10])) for row in range(10)]
            order = sorted(range(10), key=lambda row: -rows[row])
            classes = [
                f"{rows[row]:.4f}:{row}" + (f":{self.labels[row]}" if self.labels else "")
                for row in order
            ]
            asked = "classification" in wanted.get("parameters", {})
            outputs.append(
                {
                    "name": wanted["name"],
                    "datatype": "BYTES" if asked else "FP32",
                    "shape": [1, 10],
                    "data": classes if asked else rows,
                }
            )
        answer = {"model_name": "digits", "model_version": "1", "outputs": outputs}
        return 200, answer | {"id": body.get("id", ""), "parameters": {}}


def statistics(count: int) -> dict[str, Any]:
    """Of the statistics extension."""
    spent = {"count": count, "ns": 48_000 * count}
    every = {"success": {"count": count, "ns": 90_000 * count}, "queue": {"count": count, "ns": 0}}
    return {"inference_count": count, "inference_stats": every | {"compute_infer": spent}}


def drive(
    fake: FakeServer,
    script: str,
    *,
    width: int = 1280,
    height: int = 1000,
    screenshot: Path | None = None,
) -> dict[str, Any]:
    """Run ``script`` beside the page in Chromium; what it has put into ``results``."""
    assert CHROMIUM is not None
    values = {"width": width, "height": height, "script": script}
    values["hold"] = '<img src="/hold" alt="">' if screenshot else ""
    # Chromium may write while it ends.
    scratch = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    with scratch as profile, _serving(fake, DRIVER % values) as served:
        command = [CHROMIUM, "--headless=new", "--disable-gpu", "--no-first-run", "--disable-sync"]
        command += ["--disable-background-networking", "--disable-component-update"]
        command += ["--no-sandbox"] if os.geteuid() == 0 else []
        command += [f"--user-data-dir={profile}", f"--window-size={max(width, 500)},{height}"]
        if screenshot:
            command += [f"--screenshot={screenshot}", "--hide-scrollbars"]
        log = Path(profile) / "log"
        with log.open("wb") as file:
            browser = subprocess.Popen(
                [*command, served.address + "/driver"], stdout=file, stderr=file
            )
        try:
            if not served.done.wait(90):
                raise AssertionError(f"the page never ended:\n{log.read_text()[-2000:]}")
            if screenshot:
                browser.wait(30)
        finally:
            browser.terminate()
            browser.wait()
    assert "error" not in served.result, served.result["error"]
    return served.result


class _Served:
    def __init__(self, address: str) -> None:
        self.address = address
        self.done = threading.Event()
        self.result: dict[str, Any] = {}


@contextmanager
def _serving(fake: FakeServer, driver: str) -> Iterator[_Served]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    served = _Served(f"http://127.0.0.1:{server.server_port}")
    server.RequestHandlerClass = _handler(fake, served, driver)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(fake: FakeServer, served: _Served, driver: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            if self.path == "/driver":
                self.reply(200, "text/html", driver.encode())
            elif self.path == "/axe.js":
                self.reply(200, "text/javascript", fake.axe.encode())
            elif self.path == "/hold":
                # Chromium takes its picture once everything is there: not before the script ended.
                served.done.wait(90)
                self.reply(204, "image/png", b"")
            elif self.path == "/" or self.path.startswith("/page/"):
                status, kind, body = page_response(self.path)
                if fake.dark:
                    body = body.replace(DARK, b"@media all")
                # The page stands in the driver's frame, which its own policy forbids.
                policy = PAGE_HEADERS["Content-Security-Policy"].rpartition(";")[0]
                headers = {**PAGE_HEADERS, "Content-Security-Policy": policy}
                self.reply(status, kind, body, headers)
            else:
                self.api(None)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/result":
                served.result = json.loads(body)
                self.reply(204, "text/plain", b"")
                served.done.set()
            else:
                self.api(json.loads(body))

        def api(self, body: Any) -> None:
            given = self.headers.get("Authorization")
            if fake.token and self.path != "/v2" and given != f"Bearer {fake.token}":
                status, document = 401, {"error": "this server wants a token"}
            else:
                status, document = fake.answer(self.command, self.path, body)
            self.reply(status, "application/json", json.dumps(document).encode())

        def reply(self, status: int, kind: str, body: bytes, headers: Any = PAGE_HEADERS) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            if self.path == "/" or self.path.startswith("/page/"):
                for name, value in headers.items():
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            pass

    return Handler
