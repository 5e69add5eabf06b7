"""``kilnx package`` and ``kilnx run``: a bundle on disk, and what it answers."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import minisign
import numpy as np
import pytest
from bundles import make_model

pytestmark = pytest.mark.fast

Kilnx = Callable[..., tuple[int, str, str]]
X = np.random.default_rng(2).normal(size=(30, 4)).astype(np.float32)
EXPECTED = np.exp(X) / np.exp(X).sum(axis=1, keepdims=True)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model, data and names of classes, which is the working directory."""
    make_model(tmp_path / "net.onnx")
    np.savez(tmp_path / "x.npz", x=X, labels=np.zeros(30, np.int64))
    (tmp_path / "labels.txt").write_text("zero\none\ntwo\nthree\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def bundle(kilnx: Kilnx, made: Path) -> str:
    code, _, err = kilnx(
        *("package", "net.onnx", "-o", "digits.kilnx", "--data", "x.npz"),
        *("--labels", "labels.txt"),
    )
    assert code == 0, err
    return "digits.kilnx"


def test_package_says_what_it_wrote(kilnx: Kilnx, made: Path, bundle: str) -> None:
    code, out, _ = kilnx("package", bundle, "-o", "folder", "--version", "2", "--json")
    report = json.loads(out)
    assert (code, report["name"], report["version"]) == (0, "digits", "2")
    assert report["files"]["model.onnx"] == (made / "net.onnx").stat().st_size
    code, out, _ = kilnx("package", "folder", "-o", "again.kilnx")
    assert code == 0
    assert out.startswith("again.kilnx: digits 2, ")
    assert "model.onnx" in out


def test_package_reads_documents(kilnx: Kilnx, made: Path) -> None:
    (made / "limits.json").write_text('{"min_sqnr": 20}')
    (made / "policy.json").write_text('{"alpha": 0.001}')
    command = ("package", "net.onnx", "-o", "b", "--limits", "limits.json", "--labels", "a,b,c,d")
    assert kilnx(*command, "--policy", "policy.json")[0] == 0
    manifest = json.loads((made / "b/kilnx-bundle.json").read_text())
    assert manifest["limits"] == {"min_sqnr": 20}
    assert manifest["policy"] == {"alpha": 0.001}
    assert manifest["labels"] == ["a", "b", "c", "d"]
    (made / "limits.json").write_text("[]")
    code, _, err = kilnx(*command, "--force")
    assert code == 2
    assert "limits.json cannot be read: it is no JSON object" in err


def test_run_shows_classes(kilnx: Kilnx, bundle: str) -> None:
    code, out, _ = kilnx("run", bundle, "--data", "x.npz")
    assert code == 0
    names = ("zero", "one", "two", "three")
    best = [names[row.argmax()] for row in EXPECTED]
    lines = out.splitlines()
    assert [line.split()[1] for line in lines[1:21]] == best[:20]
    assert "10 more samples" in out


def test_run_shows_numbers(kilnx: Kilnx, made: Path) -> None:
    np.save(made / "one.npy", np.float32([[0, 0, 0, 0]]))
    code, out, _ = kilnx("run", "net.onnx", "--data", "one.npy")
    assert code == 0
    assert out.splitlines()[1].split() == ["0", "0.25,", "0.25,", "0.25,", "0.25"]


def test_run_writes_a_file_and_replaces_none(kilnx: Kilnx, made: Path, bundle: str) -> None:
    command = ("run", bundle, "--data", "x.npz", "-o", "out.npz")
    code, out, _ = kilnx(*command)
    assert (code, out.splitlines()[0]) == (0, "out.npz: the answers to 30 samples")
    with np.load(made / "out.npz") as found:
        np.testing.assert_allclose(found["y"], EXPECTED, rtol=1e-5)
    code, _, err = kilnx(*command)
    assert code == 2
    assert "existing file" in err


def test_run_answers_in_json_and_takes_a_plain_model(kilnx: Kilnx, made: Path) -> None:
    code, out, _ = kilnx("run", "net.onnx", "--data", "x.npz", "--batch-size", "7", "--json")
    found = json.loads(out)
    assert (code, found["samples"], found["labels"]) == (0, 30, [])
    np.testing.assert_allclose(found["outputs"]["y"], EXPECTED, rtol=1e-5)


def _npz() -> bytes:
    file = io.BytesIO()
    np.savez(file, x=X)
    return file.getvalue()


def _npy() -> bytes:
    file = io.BytesIO()
    np.save(file, X)
    return file.getvalue()


@pytest.mark.parametrize(
    "piped",
    [
        _npz(),
        _npy(),
        json.dumps({"x": X.tolist()}).encode(),
        json.dumps(X.tolist()).encode(),
    ],
    ids=["npz", "npy", "object", "array"],
)
def test_run_reads_standard_input(
    kilnx: Kilnx, bundle: str, monkeypatch: pytest.MonkeyPatch, piped: bytes
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(piped)))
    code, out, err = kilnx("run", bundle, "--json")
    assert code == 0, err
    np.testing.assert_allclose(json.loads(out)["outputs"]["y"], EXPECTED, rtol=1e-4)


@pytest.mark.parametrize(
    ("piped", "message"),
    [
        (b"", "holds no samples"),
        (b"hello", "neither an .npz"),
        (b"[" * 99_999, "neither an .npz"),
        (b"[[1,2],[3]]", "not one array"),
        (b'{"x": 5}', "no array of numbers"),
        (b'{"x": [null]}', "no array of numbers"),
        (b"[[1,2,3]]", "the data"),
        (b"PK\x03\x04rubbish", "cannot be read|can be read|truncated"),
    ],
)
def test_run_refuses_what_is_piped(
    kilnx: Kilnx, bundle: str, monkeypatch: pytest.MonkeyPatch, piped: bytes, message: str
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(piped)))
    code, out, err = kilnx("run", bundle)
    assert (code, out) == (2, "")
    assert __import__("re").search(message, err)


def test_signatures_on_the_command_line(
    kilnx: Kilnx, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = minisign.KeyPair.generate()
    (made / "pub").write_bytes(bytes(pair.public_key))
    pair.secret_key.encrypt("tin", opslimit=32768, memlimit=1 << 20)
    (made / "key").write_bytes(bytes(pair.secret_key))
    command = ("package", "net.onnx", "-o", "s.kilnx", "--sign", "key")
    monkeypatch.delenv("KILNX_SIGN_PASSWORD", raising=False)
    code, _, err = kilnx(*command)
    assert code == 2
    assert "KILNX_SIGN_PASSWORD" in err
    monkeypatch.setenv("KILNX_SIGN_PASSWORD", "tin")
    code, out, _ = kilnx(*command)
    assert code == 0
    assert ", signed, " in out
    assert kilnx("run", "s.kilnx", "--data", "x.npz", "--verify", "pub")[0] == 0
    other = bytes(minisign.KeyPair.generate().public_key).decode().splitlines()[1]
    code, _, err = kilnx("run", "s.kilnx", "--data", "x.npz", "--verify", other)
    assert code == 2
    assert "not signed with this key" in err
    code, _, err = kilnx("run", "net.onnx", "--data", "x.npz", "--verify", "pub")
    assert code == 2
    assert "no bundle" in err


def test_inspect_verifies_a_bundle_and_looks_into_it(kilnx: Kilnx, made: Path, bundle: str) -> None:
    code, out, _ = kilnx("inspect", bundle)
    assert code == 0
    assert out.startswith("digits.kilnx: bundle digits 1, ")
    assert "inputs   x: float32[n, 4]" in out
    found = json.loads(kilnx("inspect", bundle, "net.onnx", "--json")[1])
    assert [one["model"] for one in found["models"]] == [bundle, "net.onnx"]
    assert found["bundles"][0]["labels"] == ["zero", "one", "two", "three"]
    code, _, err = kilnx("inspect", bundle, "--verify", "pub")
    assert code == 2
    assert "pub cannot be read" in err


def test_a_broken_bundle_is_one_sentence(kilnx: Kilnx, made: Path, bundle: str) -> None:
    raw = bytearray((made / bundle).read_bytes())
    raw[100] ^= 1
    (made / bundle).write_bytes(raw)
    code, out, err = kilnx("run", bundle, "--data", "x.npz", "--json")
    assert code == 2
    assert json.loads(out)["error"]["kind"] == "BundleError"
    assert err.count("\n") == 1 or "kilnx: error:" in err.splitlines()[-1]


def test_run_needs_neither_tensorflow_nor_a_server(made: Path, bundle: str) -> None:
    code = (
        "import sys; from converter.cli import app; "
        f"app(['run', '{bundle}', '--data', 'x.npz', '--quiet'], standalone_mode=False); "
        "print(sorted({'tensorflow', 'keras', 'uvicorn', 'msgspec', 'minisign', 'orjson', "
        "'sklearn', 'pyarrow', 'grpc', 'prometheus_client'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
