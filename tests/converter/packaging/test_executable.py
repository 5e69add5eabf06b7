"""An executable holds what was measured, and runs where there is nothing but Python."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from bundles import make_bundle

from converter.packaging.deploy import deploy
from converter.packaging.options import DeployOptions
from runtimes.errors import RuntimeUnavailable


@pytest.mark.fast
@pytest.mark.usefixtures("small_server")
def test_what_is_in_it(tmp_path: Path) -> None:
    report = deploy(make_bundle(tmp_path), tmp_path / "out", "executable")
    path = tmp_path / "out/digits.pyz"
    assert path.read_bytes()[:2] == b"#!"
    assert os.access(path, os.X_OK)
    with zipfile.ZipFile(path) as held:
        names = held.namelist()
        launch = json.loads(held.read("launch.json"))
    assert names[-2:] == ["launch.json", "__main__.py"]
    assert set(launch["files"]) == set(names[:-2])
    assert {"lib/small_core.py", "lib/converter/__main__.py", "bundle/model.onnx"} <= set(names)
    assert "lib/small_web.py" not in names
    assert (launch["commands"], launch["bundle"]) == (["run", "drift"], report.bundle)


@pytest.mark.fast
@pytest.mark.usefixtures("small_server")
def test_it_may_hold_the_server(tmp_path: Path) -> None:
    options = DeployOptions(with_server=True, name="other")
    deploy(make_bundle(tmp_path), tmp_path / "out", "executable", options)
    with zipfile.ZipFile(tmp_path / "out/other.pyz") as held:
        assert "lib/small_web.py" in held.namelist()
        assert "serve" in json.loads(held.read("launch.json"))["commands"]


@pytest.mark.fast
@pytest.mark.usefixtures("small_server")
def test_the_same_bundle_gives_the_same_bytes(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path)
    first = deploy(bundle, tmp_path / "first", "executable")
    assert first.files == deploy(bundle, tmp_path / "second", "executable").files


@pytest.mark.fast
@pytest.mark.usefixtures("small_server")
def test_code_that_was_changed_is_not_shipped(tmp_path: Path, site: Path) -> None:
    (site / "small_core.py").write_text("changed")
    with pytest.raises(RuntimeUnavailable, match=r"small_core.py of small-core 1.5 is not the"):
        deploy(make_bundle(tmp_path), tmp_path / "out", "executable")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_it_runs_with_nothing_but_python(tmp_path: Path) -> None:
    deploy(make_bundle(tmp_path), tmp_path / "out", "executable")
    samples = np.array([[0, 0, 9, 0], [9, 0, 0, 0]], np.float32)
    np.savez(tmp_path / "x.npz", x=samples)
    # The Python that this environment was made of: none of its packages can be imported.
    python = getattr(sys, "_base_executable", sys.executable)
    done = subprocess.run(
        [python, "-I", "-S", "digits.pyz", "--data", str(tmp_path / "x.npz"), "--json"],
        cwd=tmp_path / "out",
        env={"HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    expected = np.exp(samples) / np.exp(samples).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found["outputs"]["y"], expected, rtol=1e-5, atol=1e-7)
    assert found["labels"][2] == "zwölf"
