"""``kilnx package --to`` in the shell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bundles import make_bundle, make_model
from typer.testing import CliRunner, Result

from converter.cli import app
from runtimes.errors import DataError

pytestmark = pytest.mark.fast


def package(*arguments: Any) -> Result:
    return CliRunner().invoke(app, ["package", *map(str, arguments)])


def test_a_bundle_becomes_a_repository(tmp_path: Path) -> None:
    output = tmp_path / "triton"
    done = package(make_bundle(tmp_path), "--to", "triton", "-o", output, "--max-batch", 4)
    assert done.exit_code == 0, done.output
    assert "tritonserver --model-repository repository" in done.output
    assert "max_batch_size: 4" in (output / "repository/digits/config.pbtxt").read_text()


def test_one_document(tmp_path: Path) -> None:
    output = tmp_path / "out"
    done = package(make_bundle(tmp_path), "--to", "mlflow", "-o", output, "--json")
    document = json.loads(done.stdout)
    assert document["to"] == "mlflow"
    assert document["folder"] == str(output)
    assert all((output / name).is_file() for name in document["files"])


def test_a_model_gets_the_name_of_the_output(tmp_path: Path) -> None:
    done = package(make_model(tmp_path / "m.onnx"), "--to", "triton", "-o", tmp_path / "net")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "net/repository/net/1/model.onnx").is_file()


def test_an_option_of_a_system_needs_the_system(tmp_path: Path) -> None:
    done = package(make_bundle(tmp_path), "-o", tmp_path / "out", "--max-replicas", 3)
    assert isinstance(done.exception, DataError)
    assert "--max-replicas says how a system starts a bundle; name one with --to" in str(
        done.exception
    )
    assert not (tmp_path / "out").exists()


def test_a_system_that_does_not_exist(tmp_path: Path) -> None:
    done = package(make_bundle(tmp_path), "-o", tmp_path / "out", "--to", "nomad")
    assert done.exit_code == 2
    assert not (tmp_path / "out").exists()
