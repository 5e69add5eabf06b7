"""A bundle that is watched while it is served: it rolls back, tells so, and comes back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("uvicorn")

from served import SOFTMAX, Client, serving, write_model

from runtimes.bundle import write_bundle
from runtimes.monitor.make import make_reference
from runtimes.serving.options import ModelOptions

pytestmark = pytest.mark.fast
TOKEN = "a-token-that-is-long-enough"
POLICY = {"actions": {"inputs": "rollback"}, "burst_seconds": 60.0, "clean": 10_000}
MOST_REQUESTS = 5000


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    model = write_model(folder / "model.onnx", SOFTMAX)
    samples = np.random.default_rng(0).standard_normal((600, 4)).astype(np.float32)
    np.savez(folder / "warmup.npz", x=samples[:16])
    reference = make_reference(model, model, {"x": samples, "labels": samples.argmax(axis=1)})
    write_bundle(
        folder / "net.kilnx",
        model=model,
        fp32=model,
        reference=reference.to_json().encode(),
        warmup=folder / "warmup.npz",
        policy=POLICY,
        name="net",
    ).close()
    return folder / "net.kilnx"


def answered_by_fp32(client: Client, x: np.ndarray, **more: object) -> bool:
    answer = client.infer(x, **more)
    assert answer.status == 200, answer.body
    return answer.json().get("parameters", {}).get("fp32", False) is True


def status(client: Client) -> dict[str, object]:
    found: dict[str, object] = client.ask("GET", "/monitor").json()["models"]["net"]["1"]
    return found


def test_drift_brings_the_original_and_a_hand_the_model_back(bundle: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    options = ModelOptions(state=tmp_path / "state")
    with serving(bundle, token=TOKEN, model=options) as client:
        for _ in range(20):
            assert not answered_by_fp32(client, rng.standard_normal((1, 4)))
        for _ in range(MOST_REQUESTS):
            if answered_by_fp32(client, 40 + rng.standard_normal((1, 4))):
                break
        else:
            pytest.fail(f"no rollback: {status(client)}")
        assert status(client)["uses_fp32"] is True
        assert (
            'kilnx_fp32_active{model="net",version="1"} 1.0'
            in client.ask("GET", "/metrics").body.decode()
        )
        come_back = "/v2/models/net/come_back"
        assert client.ask("POST", come_back, headers={"Authorization": ""}).status == 401
        assert client.ask("POST", come_back).status == 200
        assert not answered_by_fp32(client, rng.standard_normal((1, 4)))
    assert list((tmp_path / "state").iterdir())


def test_labels_that_come_later(bundle: Path) -> None:
    with serving(bundle) as client:
        for name in ("first", "second"):
            assert not answered_by_fp32(client, np.eye(4)[:1], id=name)
        path = "/v2/models/net/feedback"
        for body, code in (
            ({"id": "first", "label": 0}, 200),
            ({"feedback": [{"id": "second", "label": 0}]}, 200),
            ({"id": "never asked", "label": 0}, 400),
            ({"feedback": 3}, 400),
            ({"id": 3, "label": 0}, 400),
            ({"id": "first"}, 400),
        ):
            answer = client.ask("POST", path, body)
            assert (answer.status, body) == (code, body), answer.body


def test_without_a_monitor(bundle: Path) -> None:
    with serving(bundle, model=ModelOptions(monitor=False)) as client:
        assert client.ask("GET", "/monitor").json() == {"models": {"net": {"1": None}}}
        assert client.infer(np.ones((1, 4))).status == 200
