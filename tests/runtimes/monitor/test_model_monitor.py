"""The monitor of a served model, from the server's side: it watches, rolls back and comes back."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from monitor_models import samples

from runtimes import open_runtime
from runtimes.errors import DataError
from runtimes.monitor import ModelMonitor, Policy, Reference, make_reference, open_probe

Array = np.ndarray[Any, np.dtype[Any]]
# Requests of a second pay for all that is watched: how fast this machine is, is not tested here.
GENEROUS = {"burst_seconds": 600.0, "budget": 1.0}
SECONDS = 1.0


@pytest.fixture
def reference(quantized: Path, original: Path, held_out: dict[str, Array]) -> Reference:
    return make_reference(quantized, original, held_out)


class Served:
    """The two models behind a monitor."""

    def __init__(self, reference: Reference | None, model: Path, fp32: Path, **options: Any):
        policy = Policy(**{**GENEROUS, **options.pop("policy", {})})
        self.models = {False: open_runtime(model), True: open_runtime(fp32)}
        options.setdefault("run_fp32", open_runtime(fp32).run)
        self.monitor = ModelMonitor(reference, policy, probe=open_probe(model), **options)

    def serve(self, x: Array, *, rows: int = 1, seconds: float = SECONDS) -> int | None:
        """Serve so many samples a request; the request after which fp32 answers."""
        first = None
        for start in range(0, len(x), rows):
            feed = {"x": x[start : start + rows]}
            outputs = self.models[self.monitor.uses_fp32].run(feed)
            if self.monitor.wants():
                self.monitor.record(feed, outputs, seconds, f"r{start}")
                assert self.monitor.flush()
            if first is None and self.monitor.uses_fp32:
                first = start // rows + 1
        return first

    def events(self) -> list[tuple[str, str | None]]:
        """What happened."""
        return [(one["event"], one["group"]) for one in self.monitor.status()["alarms"]["events"]]


@pytest.fixture
def serving(
    reference: Reference, quantized: Path, original: Path
) -> Iterator[Callable[..., Served]]:
    opened: list[Served] = []

    def make(**options: Any) -> Served:
        known = options.pop("reference", reference)
        opened.append(Served(known, quantized, original, **options))
        return opened[-1]

    yield make
    for one in opened:
        one.monitor.close()


def test_what_looks_like_the_reference_alarms_nobody(serving: Callable[..., Served]) -> None:
    served = serving()
    assert served.serve(samples(400, seed=1)) is None
    status = served.monitor.status()
    assert status["state"] == "compressed"
    assert status["alarms"] == {"count": 0, "events": []}
    assert status["inputs"]["observations"] == 400
    assert status["shadow"]["samples"] == 400
    assert status["shadow"]["disagreement"] < 0.02
    assert status["shadow"]["sqnr_db"] > 40
    assert status["saturation"]["threshold"] == pytest.approx(500)
    assert status["notes"] == []
    json.dumps(status, allow_nan=False)


def test_saturation_rolls_back_and_a_clean_stretch_comes_back(
    serving: Callable[..., Served],
) -> None:
    served = serving(policy={"clean": 40})
    served.serve(samples(50, seed=1))
    rolled_back = served.serve(2 * samples(100, seed=2))
    assert rolled_back is not None
    assert served.monitor.status()["state"] == "fp32"
    assert ("alarm", "saturation") in served.events() or ("alarm", "shadow") in served.events()
    assert ("rollback", None) in served.events()
    served.serve(samples(300, seed=3))
    assert served.monitor.status()["state"] == "compressed"
    assert served.events()[-1][0] in ("over", "back")


def test_the_feature_that_drifts_is_named(serving: Callable[..., Served]) -> None:
    served = serving()
    x = samples(200, seed=1)
    x[:, 2] = 1.79
    served.serve(x)
    (alarm,) = (
        one
        for one in served.monitor.status()["alarms"]["events"]
        if (one["event"], one["group"]) == ("alarm", "inputs")
    )
    feature = alarm["evidence"]["features"][0]
    assert feature["feature"] == "x: column 2"
    assert feature["recent"] > feature["expected"]
    assert served.monitor.uses_fp32 is False


def test_what_drifts_on_is_told_once(serving: Callable[..., Served]) -> None:
    served = serving(policy={"actions": {"saturation": "log", "shadow": "log"}})
    served.serve(2 * samples(300, seed=1))
    alarms = [event for event in served.events() if event == ("alarm", "inputs")]
    assert len(alarms) == 1


def test_requests_of_many_samples_are_looked_at(serving: Callable[..., Served]) -> None:
    served = serving()
    assert served.serve(2 * samples(2400, seed=1), rows=40) is not None
    assert served.monitor.status()["inputs"]["observations"] <= 60


def test_without_an_original_nothing_is_rolled_back(serving: Callable[..., Served]) -> None:
    served = serving(run_fp32=None)
    assert served.serve(2 * samples(100, seed=1)) is None
    status = served.monitor.status()
    assert status["alarms"]["count"] > 0
    assert any("no fp32 model" in note for note in status["notes"])


def test_an_original_that_fails_is_counted_and_stops_nothing(
    serving: Callable[..., Served],
) -> None:
    def broken(feed: Any) -> Any:
        raise RuntimeError("gone")

    served = serving(run_fp32=broken)
    served.serve(samples(20, seed=1))
    status = served.monitor.status()
    assert status["shadow"]["failures"] == 20
    assert "gone" in status["shadow"]["last_error"]
    assert status["inputs"]["observations"] == 20


def test_without_a_reference_latency_and_errors_are_watched(
    serving: Callable[..., Served],
) -> None:
    served = serving(reference=None)
    served.serve(samples(10))
    served.monitor.failed(429)
    served.monitor.failed(429)
    status = served.monitor.status()
    assert status["latency"]["compressed"]["count"] == 10
    assert status["latency"]["compressed"]["p50"] == pytest.approx(SECONDS, rel=0.1)
    assert status["errors"] == {"429": 2}
    assert status["metric"] is None
    assert any("no reference" in note for note in status["notes"])


def test_a_slow_original_shrinks_what_is_accepted(serving: Callable[..., Served]) -> None:
    served = serving()
    feed = {"x": samples(1)}
    for _ in range(40):
        served.monitor.record(feed, feed, 1e-3, by_fp32=False)
    assert served.monitor.capacity == 1
    served.serve(2 * samples(100, seed=1), seconds=1e-3)
    for _ in range(400):
        served.monitor.record(feed, feed, 4e-3, by_fp32=True)
    assert 0.2 < served.monitor.capacity < 0.3


def test_the_server_never_waits_for_the_thread(
    serving: Callable[..., Served], original: Path
) -> None:
    held, run = threading.Event(), open_runtime(original).run

    def slow(feed: Any) -> Any:
        held.wait(60)
        return run(feed)

    served = serving(run_fp32=slow)
    feed = {"x": samples(1)}
    for _ in range(1000):
        served.monitor.record(feed, {"y": feed["x"]}, 1e-3, "a")
    assert served.monitor.status()["cost"]["dropped"] >= 1000 - 256 - 32
    held.set()
    assert served.monitor.flush()


def test_what_is_served_may_be_overwritten(serving: Callable[..., Served]) -> None:
    served = serving()
    x = samples(1, seed=1)
    for row in samples(100, seed=1):
        x[0] = row
        served.monitor.record({"x": x}, {"y": x}, 1e-3)
        x[0] = 1e6
    assert served.monitor.flush()
    assert served.monitor.status()["alarms"]["count"] == 0


def test_strange_arrays_do_not_end_the_monitor(serving: Callable[..., Served]) -> None:
    served = serving()
    for odd in (np.zeros((1, 0), np.float32), np.full((1, 4), np.nan, np.float32)):
        served.monitor.record({"x": odd}, {"y": odd}, 1e-3)
        served.monitor.flush()
    served.monitor.record({"z": samples(1)}, {}, 1e-3)
    served.serve(samples(10))
    assert served.monitor.status()["inputs"]["observations"] >= 10


def test_labels_give_the_served_metric(serving: Callable[..., Served]) -> None:
    served = serving()
    x = samples(100, seed=1)
    served.serve(x)
    for place, row in enumerate(x):
        served.monitor.feedback(f"r{place}", int(row.argmax()))
    metric = served.monitor.status()["metric"]
    assert metric["labels"] == 100
    assert metric["served"] > 0.95
    assert metric["low"] < metric["served"] <= metric["high"]
    with pytest.raises(DataError):
        served.monitor.feedback("unknown", 1)


def test_the_state_outlives_a_restart(serving: Callable[..., Served], tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    first = serving(state=path)
    first.serve(samples(50, seed=1))
    first.serve(2 * samples(60, seed=2))
    first.monitor.failed(500)
    assert first.monitor.uses_fp32
    before = first.monitor.status()
    first.monitor.close()
    second = serving(state=path)
    after = second.monitor.status()
    assert second.monitor.uses_fp32
    for name in ("alarms", "errors", "latency", "standing", "saturation", "rollbacks"):
        assert after[name] == before[name], name


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "[]",
        lambda text: text.replace('"observations": 30', '"observations": "many"'),
        lambda text: text.replace('"rollbacks": 0', '"rollbacks": null'),
        lambda text: text.replace('"version": 1', '"version": 9'),
    ],
)
def test_a_damaged_state_is_told_and_begun_anew(
    serving: Callable[..., Served], tmp_path: Path, damage: Callable[[str], str]
) -> None:
    path = tmp_path / "state.json"
    first = serving(state=path)
    first.serve(samples(30, seed=1))
    first.monitor.close()
    text = path.read_text()
    path.write_text(damage(text))
    assert path.read_text() != text
    second = serving(state=path)
    assert any("begins anew" in note for note in second.monitor.status()["notes"])
    assert second.monitor.status()["inputs"]["observations"] == 0
    second.serve(samples(10))
    second.monitor.close()
    assert serving(state=path).monitor.status()["inputs"]["observations"] == 10


def test_a_state_of_another_reference_is_not_taken_up(
    serving: Callable[..., Served], quantized: Path, tmp_path: Path
) -> None:
    path = tmp_path / "state.json"
    first = serving(state=path)
    first.serve(samples(10))
    first.monitor.close()
    other = make_reference(quantized, None, {"x": samples(100, seed=9)})
    second = serving(state=path, reference=other)
    assert any("another reference" in note for note in second.monitor.status()["notes"])
    assert second.monitor.status()["inputs"]["observations"] == 0


def test_a_disk_that_refuses_does_not_stop_the_serving(
    serving: Callable[..., Served], tmp_path: Path
) -> None:
    served = serving(state=tmp_path / "missing" / "state.json")
    served.serve(2 * samples(100, seed=1))
    assert served.monitor.uses_fp32
    assert any("cannot be written" in note for note in served.monitor.status()["notes"])


def test_a_reference_of_other_activations_is_told(
    serving: Callable[..., Served], original: Path, reference: Reference
) -> None:
    served = Served(reference, original, original)
    try:
        served.serve(2 * samples(30, seed=1))
        status = served.monitor.status()
    finally:
        served.monitor.close()
    assert any("other activations" in note for note in status["notes"])
    assert status["saturation"]["observations"] == 0
    assert status["shadow"]["disagreement"] == 0


def test_a_hand_brings_the_model_back(serving: Callable[..., Served]) -> None:
    served = serving(policy={"most_rollbacks": 1})
    served.serve(2 * samples(100, seed=1))
    assert served.monitor.status()["state"] == "fp32 until by hand"
    served.monitor.come_back()
    assert not served.monitor.uses_fp32
    assert served.events()[-1] == ("back", None)


class _Receiver:
    """An address that refuses the first posts."""

    def __init__(self, refuse: int) -> None:
        received: list[dict[str, Any]] = []
        left = [refuse]

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                refused = left[0] > 0
                left[0] -= 1
                self.send_response(503 if refused else 204)
                self.end_headers()
                if not refused:
                    received.append(json.loads(body))

            def log_message(self, *args: object) -> None:
                pass

        self.received = received
        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}/alarm"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def test_alarms_are_posted_and_tried_again(serving: Callable[..., Served]) -> None:
    receiver = _Receiver(refuse=1)
    try:
        served = serving(policy={"webhook": receiver.address})
        served.serve(2 * samples(100, seed=1))
        assert served.monitor.uses_fp32
        served.monitor.close()
    finally:
        receiver.server.shutdown()
        receiver.server.server_close()
    told = [one["event"] for one in receiver.received]
    assert "alarm" in told
    assert "rollback" in told
    assert all(one["model"] == "model" for one in receiver.received)
    webhook = served.monitor.status()["webhook"]
    assert (webhook["delivered"], webhook["failed"]) == (len(told), 0)
    assert "127.0.0.1" not in json.dumps(webhook)
