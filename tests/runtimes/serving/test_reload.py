"""Models that change while they are served: what passes its proof replaces what answered."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("uvicorn")

from served import (
    HEADER,
    MIXING,
    SOFTMAX,
    SQUARE,
    TWICE,
    Client,
    binary_output,
    serving,
    write_model,
)

from runtimes.bundle import write_bundle
from runtimes.errors import DataError, KilnxError

pytestmark = pytest.mark.fast
TOKEN = "a-token-that-is-long-enough"
X = np.full((1, 4), 3, np.float32)


def control(client: Client, action: str, name: str = "net") -> Any:
    return client.ask("POST", f"/v2/repository/models/{name}/{action}")


def test_a_model_is_loaded_anew(tmp_path: Path) -> None:
    path = write_model(tmp_path / "net.onnx", TWICE)
    with serving(path, token=TOKEN) as client:
        assert client.outputs(client.infer(X))[0, 0] == 6
        write_model(path, SQUARE)
        assert client.outputs(client.infer(X))[0, 0] == 6
        assert control(client, "load").status == 200
        assert client.outputs(client.infer(X))[0, 0] == 9


def test_outputs_that_changed_are_told_as_they_are(tmp_path: Path) -> None:
    path = write_model(tmp_path / "net.onnx", TWICE)
    with serving(path, token=TOKEN) as client:
        for _ in range(2):
            assert b'"name":"y"' in client.infer_binary(X).body
        write_model(path, HEADER + "net (float[n, 4] x) => (float[n, 4] z) { z = Neg(x) }")
        assert control(client, "load").status == 200
        for _ in range(2):
            answer = client.infer_binary(X)
            assert b'"name":"z"' in answer.body
            assert binary_output(answer).tolist() == [[-3.0] * 4]


def test_what_does_not_load_changes_nothing(tmp_path: Path) -> None:
    path = write_model(tmp_path / "net.onnx", TWICE)
    with serving(path, token=TOKEN) as client:
        path.write_bytes(b"no model")
        answer = control(client, "load")
        assert answer.status == 422
        assert "still answers" in answer.json()["error"]
        assert client.outputs(client.infer(X))[0, 0] == 6
        index = client.ask("POST", "/v2/repository/index").json()
        assert index[0]["state"] == "READY"
        assert "the version loaded before answers" in index[0]["reason"]
        assert client.ask("GET", "/v2/health/ready").status == 503
        write_model(path, SQUARE)
        assert control(client, "load").status == 200
        assert client.ask("GET", "/v2/health/ready").status == 200


def test_unloading_and_loading(tmp_path: Path) -> None:
    path = write_model(tmp_path / "net.onnx")
    with serving(path, token=TOKEN) as client:
        assert control(client, "unload").status == 200
        assert client.infer(X).status == 503
        assert control(client, "unload", "other").status == 404
        assert control(client, "load", "other").status == 404
        assert control(client, "load").status == 200
        assert client.infer(X).status == 200


def test_nothing_fails_while_models_change(tmp_path: Path) -> None:
    path = write_model(tmp_path / "net.onnx", TWICE)
    found: list[float] = []
    failed: list[int] = []
    stop = threading.Event()

    def ask(url: str) -> None:
        client = Client(url, TOKEN)
        while not stop.is_set():
            answer = client.infer(X)
            if answer.status == 200:
                found.append(float(client.outputs(answer)[0, 0]))
            else:
                failed.append(answer.status)
        client.close()

    with serving(path, token=TOKEN) as client:
        url = f"http://{client.host}:{client.port}"
        askers = [threading.Thread(target=ask, args=(url,)) for _ in range(3)]
        for one in askers:
            one.start()
        for text in (SQUARE, TWICE) * 3:
            write_model(path, text)
            assert control(client, "load").status == 200
        stop.set()
        for one in askers:
            one.join()
    assert failed == []
    assert set(found) == {6.0, 9.0}


def test_versions(tmp_path: Path) -> None:
    write_model(tmp_path / "net" / "2" / "model.onnx", TWICE)
    write_model(tmp_path / "net" / "10" / "model.onnx", SQUARE)
    write_model(tmp_path / "other.onnx", SOFTMAX)
    (tmp_path / "notes").mkdir()
    with serving(repository=tmp_path, versions="all", token=TOKEN) as client:
        assert client.ask("GET", "/v2/models/net").json()["versions"] == ["2", "10"]
        assert client.outputs(client.infer(X))[0, 0] == 9
        old = client.infer(X, model="net/versions/2")
        assert client.outputs(old)[0, 0] == 6
        assert old.json()["model_version"] == "2"
        assert client.infer(X, model="other").status == 200
    with serving(repository=tmp_path, versions="latest", token=TOKEN) as client:
        assert client.infer(X, model="net/versions/2").status == 404
        write_model(tmp_path / "net" / "11" / "model.onnx", TWICE)
        assert control(client, "load").status == 200
        assert client.infer(X).json()["model_version"] == "11"


def test_a_broken_model_of_a_repository_leaves_the_others(tmp_path: Path) -> None:
    write_model(tmp_path / "net.onnx")
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with serving(repository=tmp_path) as client:
        assert client.infer(X).status == 200
        answer = client.infer(X, model="broken")
        assert answer.status == 503
        assert "could not be loaded" in answer.json()["error"]
        assert client.ask("GET", "/v2/health/ready").status == 503


def test_what_is_named_and_does_not_load_keeps_the_server_from_starting(tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(KilnxError, match=r"broken\.onnx"), serving(path):
        pass
    with pytest.raises(DataError, match="no such file"), serving(tmp_path / "missing.onnx"):
        pass


def test_changed_files_are_found(tmp_path: Path) -> None:
    path = write_model(tmp_path / "net.onnx", TWICE)
    with serving(path, watch=0.05) as client:
        new = write_model(tmp_path / "new.onnx", SQUARE)
        new.replace(path)
        while client.outputs(client.infer(X))[0, 0] != 9:  # the runner's own limit ends it
            pass


def bundle(path: Path, model: Path, **more: Any) -> Path:
    write_bundle(path, model=model, name="net", version="1", **more).close()
    return path


def test_a_bundle_is_served_by_its_own_name(tmp_path: Path) -> None:
    model = write_model(tmp_path / "any.onnx", SOFTMAX)
    labels = ["zero", "one", "two", "three"]
    with serving(bundle(tmp_path / "b.kilnx", model, fp32=model, labels=labels)) as client:
        output = [{"name": "y", "parameters": {"classification": 2}}]
        answer = client.infer([[1, 5, 2, 0]], outputs=output)
        assert answer.status == 200
        texts = answer.json()["outputs"][0]["data"]
        assert [text.split(":", 1)[1] for text in texts] == ["1:one", "2:two"]


def test_a_bundle_that_is_not_its_original_is_refused(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model.onnx", TWICE)
    fp32 = write_model(tmp_path / "fp32.onnx", SQUARE)
    samples = tmp_path / "warmup.npz"
    np.savez(samples, x=np.full((4, 4), 30, np.float32))
    path = bundle(tmp_path / "b.kilnx", model, fp32=fp32, warmup=samples)
    with pytest.raises(KilnxError, match="not that of its fp32 original"), serving(path):
        pass
    with serving(bundle(tmp_path / "c.kilnx", model, fp32=model, warmup=samples)) as client:
        assert client.infer(X).status == 200


def test_a_bundle_that_is_damaged_while_it_is_served(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model.onnx", TWICE)
    folder = bundle(tmp_path / "b", model, fp32=model)
    with serving(folder, token=TOKEN) as client:
        data = bytearray((folder / "model.onnx").read_bytes())
        data[-3] ^= 1
        (folder / "model.onnx").write_bytes(data)
        assert client.outputs(client.infer(X))[0, 0] == 6
        assert control(client, "load").status == 422
        assert client.outputs(client.infer(X))[0, 0] == 6


def test_weights_in_other_files_are_out_of_reach(tmp_path: Path) -> None:
    import onnx_ir as ir

    weights = np.arange(4096, dtype=np.float32).reshape(4, 1024)
    x = ir.val("x", ir.DataType.FLOAT, ["n", 4])
    held = ir.val("w", ir.DataType.FLOAT, weights.shape, const_value=ir.tensor(weights, name="w"))
    node = ir.node("MatMul", [x, held])
    y = node.outputs[0]
    y.name, y.type, y.shape = "y", x.type, ir.Shape(["n", 1024])
    graph = ir.Graph([x], [y], nodes=[node], initializers=[held], opset_imports={"": 18}, name="g")
    path = tmp_path / "net.onnx"
    ir.save(ir.Model(graph, ir_version=10), path, external_data="net.data")
    with serving(path) as client:
        before = client.outputs(client.infer(X))
        with (tmp_path / "net.data").open("r+b") as file:
            file.write(os.urandom(16384))
        assert client.outputs(client.infer(X)).tobytes() == before.tobytes()


def test_a_model_that_mixes_samples_is_never_batched(tmp_path: Path) -> None:
    path = write_model(tmp_path / "net.onnx", MIXING)
    wrong: list[Any] = []

    def ask(url: str, value: float) -> None:
        client = Client(url)
        for _ in range(50):
            found = client.outputs(client.infer(np.full((1, 4), value)))
            if found.tolist() != [[1.0] * 4]:
                wrong.append(found)
        client.close()

    with serving(path) as client:
        url = f"http://{client.host}:{client.port}"
        askers = [threading.Thread(target=ask, args=(url, value)) for value in (1.0, 100.0)]
        for one in askers:
            one.start()
        for one in askers:
            one.join()
    assert wrong == []
