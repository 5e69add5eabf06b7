"""``kilnx serve``: what keeps it from starting is one line and an exit code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from socket import create_server
from typing import Any

import pytest

pytest.importorskip("uvicorn")

from served import write_model

pytestmark = pytest.mark.fast
Kilnx = Callable[..., tuple[int, str, str]]
# The public key of minisign's own documentation.
KEY = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "net.onnx")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--host", "0.0.0.0"], "--plain"),
        (["--token", "short"], "can be guessed"),
        (["--control-token", "short"], "can be guessed"),
        (["--versions", "latest:x"], "latest:N"),
        (["--versions", "newest"], "has no version newest (--versions); it has 1"),
        (["--key", "key.pem"], "--cert"),
        (["--cert", "no.pem"], "cannot be used"),
        (["missing.onnx"], "no such file"),
        (["--repository", "missing"], "is no folder"),
        (["--verify", "RWnone"], "is not a public key"),
        (["--verify", KEY], "only a bundle has a signature to verify (--verify)"),
    ],
)
def test_what_is_refused(kilnx: Kilnx, model: Path, arguments: list[Any], says: str) -> None:
    code, out, err = kilnx("serve", model, "--port", 0, *arguments)
    assert (code, out) == (2, "")
    assert says in err


def test_nothing_to_serve(kilnx: Kilnx) -> None:
    code, _, err = kilnx("serve")
    assert code == 2
    assert "nothing to serve" in err


def test_a_port_that_is_taken(kilnx: Kilnx, model: Path) -> None:
    with create_server(("127.0.0.1", 0)) as taken:
        code, _, err = kilnx("serve", model, "--port", taken.getsockname()[1])
    assert code == 2
    assert "cannot listen on 127.0.0.1" in err


def test_a_model_that_does_not_load(kilnx: Kilnx, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"no model")
    code, _, err = kilnx("serve", path, "--port", 0)
    assert code == 2
    assert "net.onnx" in err
