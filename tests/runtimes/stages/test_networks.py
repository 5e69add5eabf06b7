"""Two stages in two networks, of which one asks the other over a cable."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from chain_graph import chain
from network_namespaces import FIRST, namespaces  # noqa: F401

from runtimes import open_runtime
from runtimes.stages.partition import partition

pytestmark = pytest.mark.slow


def test_over_a_cable_and_without_it(
    namespaces: tuple[str, str],  # noqa: F811
    tmp_path: Path,
) -> None:
    theirs, ours = namespaces
    model, folder = tmp_path / "chain.onnx", tmp_path / "stages"
    ir.save(chain((6, 8, 8, 4)), model)
    partition(model, folder, devices=["cpu", f"http://{FIRST}:8000"], costs="none")
    x = np.random.default_rng(3).normal(size=(70, 6)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    serving = subprocess.Popen(
        command(theirs, "serve", folder / "stage-2.onnx", "--host", FIRST, "--plain", "--json"),
        stdout=subprocess.PIPE,
        text=True,
    )
    asking = command(ours, "run", folder, "--data", tmp_path / "x.npy")
    try:
        assert serving.stdout is not None
        assert serving.stdout.readline()  # it is ready
        subprocess.run([*asking, "-o", tmp_path / "y.npz"], check=True, capture_output=True)
        with open_runtime(model) as whole, np.load(tmp_path / "y.npz") as found:
            for name, array in whole.run({"x": x}).items():
                np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-5)
        subprocess.run(["ip", "-n", theirs, "link", "set", "k0", "down"], check=True)
        done = subprocess.run(asking, capture_output=True, text=True, check=False)
        assert done.returncode
        assert "stage 2 of 2 (stage-2)" in done.stderr
    finally:
        serving.kill()
        serving.communicate()


def command(network: str, *arguments: object) -> list[str]:
    return [
        *("ip", "netns", "exec", network, sys.executable, "-m", "converter"),
        *map(str, arguments),
    ]
