"""``benchmarks/serve.py`` and ``serve_soak.py``: what they send, count, and take for right."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtimes import open_runtime
from runtimes.protobuf_fields import fields

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"

pytestmark = [
    pytest.mark.fast,
    pytest.mark.skipif(not BENCHMARKS.exists(), reason="benchmarks are in the repository only"),
]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return import_module


@pytest.mark.parametrize("form", ["v2_json", "v2_binary"])
def test_requests_are_those_of_the_protocol(load: Any, form: str) -> None:
    pytest.importorskip("msgspec")
    from runtimes.serving.protocol.limits import ProtocolLimits
    from runtimes.serving.protocol.parse import parse_infer

    payloads = load("serve_payloads")
    samples = np.random.default_rng(0).random((3, 2, 2), np.float32)
    found = payloads.several(getattr(payloads, form), "some", "image", samples)
    length = found.headers.get("Inference-Header-Content-Length")
    for body, sample in zip((found.body, *found.others), samples, strict=True):
        request = parse_infer(body, int(length) if length else None, ProtocolLimits())
        (tensor,) = request.inputs
        np.testing.assert_array_equal(tensor.data.reshape(tensor.shape), sample[None])


def test_the_request_of_grpc_is_a_message(load: Any) -> None:
    raw = np.arange(300, dtype=np.float32).tobytes()
    message = load("serve_grpc_client").infer_request("model", "image", [1, 300], raw)
    found = {one.number: message[one.start : one.stop] for one in fields(memoryview(message))}
    assert found[1] == b"model"
    assert found[7] == raw
    tensor = {one.number: found[5][one.start : one.stop] for one in fields(memoryview(found[5]))}
    assert tensor == {1: b"image", 2: b"FP32", 3: bytes([1, 0xAC, 0x02])}


def test_answers_of_every_form_are_read(load: Any) -> None:
    numbers = load("serve_answers").numbers
    values = np.array([1.5, -2.0], np.float32)
    tensor = {"name": "y", "shape": [2], "datatype": "FP32"}
    plain = json.dumps({"outputs": [{**tensor, "data": [1.5, -2.0]}]}).encode()
    size = {"parameters": {"binary_data_size": 8}}
    header = json.dumps({"outputs": [{**tensor, **size}]}).encode()
    np.testing.assert_array_equal(numbers(plain, None), values)
    np.testing.assert_array_equal(numbers(header + values.tobytes() + b"rest", len(header)), values)
    np.testing.assert_array_equal(numbers(b"[[1.5, -2.0]]", None), values)


def test_cpu_of_children_counts_while_they_live_and_after(load: Any) -> None:
    cpu_seconds = load("process_tree").cpu_seconds
    burn = "import time\nwhile time.process_time() < {}: pass\n"
    code = (
        "import subprocess, sys, time\n"
        f"subprocess.run([sys.executable, '-c', {burn.format(0.3)!r}])\n"
        f"subprocess.Popen([sys.executable, '-c', {burn.format(0.3)!r} + 'time.sleep(60)'])\n"
        "print('begun', flush=True)\ntime.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        after = 0.0
        assert cpu_seconds(process.pid) >= 0.28
        for _ in range(600):
            after = cpu_seconds(process.pid)
            if after >= 0.56:  # of both: the second may have begun before the first was counted
                break
            time.sleep(0.05)
        assert after >= 0.56
    finally:
        load("serve_process").end(process, seconds=5)
        process.stdout.close()


def test_models_of_the_soak_copy_their_input(load: Any, tmp_path: Path) -> None:
    write = load("serve_soak_model").write_identity
    image = np.random.default_rng(0).random((2, 256), np.float32)
    contents = set()
    for note, options in (
        ("a", {}),
        ("b", {}),
        ("c", {"weights": 4096}),
        ("d", {"rounds": 3}),
        ("e", {"weights": 4096, "beside": True}),
    ):
        path = tmp_path / "model.onnx"
        write(path, note, **options)
        contents.add(path.read_bytes())
        with open_runtime(path) as runtime:
            np.testing.assert_allclose(runtime.run({"image": image})["copy"], image)
    assert len(contents) == 5


def test_a_wrong_or_missing_answer_is_counted(load: Any) -> None:
    client = load("serve_client")
    tally = client.Tally()
    right = json.dumps({"outputs": [{"data": [0.5, 0.25]}]}).encode()
    client.judge(tally, 200, right, [0.5, 0.25], 0.1)
    client.judge(tally, 200, right, [0.5, 0.5], 0.1)
    client.judge(tally, 429, b"", [0.5], 0.1)
    client.judge(tally, 504, b"", [0.5], 0.1)
    client.judge(tally, 500, b"", [0.5], 0.1)
    counts = (tally.right, tally.wrong, tally.refused, tally.late, tally.failed)
    assert counts == (1, 1, 1, 1, 1)
    assert not tally.clean
    gone = client.Tally()
    client.gone(gone, client.Closed(partly=False), 1.0, [2.0])  # sent before the signal
    client.gone(gone, client.Closed(partly=True), 3.0, [2.0])  # cut in the middle
    client.gone(gone, client.Closed(partly=False), 3.0, [2.0])  # sent after it
    client.gone(gone, client.Closed(partly=False), 3.0, [])  # for no reason
    assert (gone.lost, gone.turned_away, gone.failed) == (2, 1, 1)


def test_attacks_are_what_their_seed_says_and_few_are_good(load: Any) -> None:
    hostile = load("serve_hostile")
    for attack in hostile.ATTACKS:
        made = [attack(random.Random(seed)) for seed in range(20)]
        assert made == [attack(random.Random(seed)) for seed in range(20)]
        assert len(set(made)) > 1


def test_an_attack_on_a_closed_port_is_told(load: Any) -> None:
    from collections import Counter

    hostile, seen = load("serve_hostile"), Counter[str]()
    port = load("serve_process").free_port()
    asyncio.run(hostile.attack("127.0.0.1", port, random.Random(0), seen))
    assert seen == {"no connection": 1}
