"""An entry's process: it answers as an engine here would, and its death ends it alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from runtimes import DataError, ModelError, open_runtime
from runtimes.base import SelfTimed
from runtimes.process_memory import peak_bytes
from runtimes.racing import process
from runtimes.racing.remote import RemoteRuntime

FEED = {"x": np.float32([[1, 2, 3, 4], [5, 6, 7, 8]])}

# A worker whose engine does what is done to it.
FAULTY = """
import os, signal, sys, time
from runtimes.racing import worker

def faulty(model, provider, **options):
    print("the engine says goodbye", flush=True)
    {fault}

worker.open_runtime = faulty
worker.main()
"""


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Let every worker run a statement in place of loading a model."""

    def make(statement: str) -> None:
        script = tmp_path / "worker.py"
        script.write_text(FAULTY.format(fault=statement))
        monkeypatch.setattr(process, "COMMAND", (sys.executable, str(script)))

    return make


@pytest.fixture
def model(scaled: Callable[[float], ir.Model], saved: Callable[..., Path]) -> Path:
    return saved(scaled(2.0))


def test_it_is_a_runtime_like_any_other(model: Path) -> None:
    with open_runtime(model) as here, RemoteRuntime(model, "cpu") as there:
        assert (there.inputs, there.outputs) == (here.inputs, here.outputs)
        assert (there.name, there.quantized) == (here.name, here.quantized)
        assert there.placement == here.placement
        np.testing.assert_array_equal(there.run(FEED)["y"], here.run(FEED)["y"])


def test_it_tells_times_and_memory(model: Path) -> None:
    with RemoteRuntime(model, "cpu") as there:
        assert there.load_seconds > 0
        assert there.hold("2", FEED) > 0
        runs = there.time("2", 0.0)
        assert len(runs) == 1
        assert runs[0] > 0
        assert 0 <= there.disturbed() <= 1
        memory = there.memory()
    assert memory is None or memory > 1_000_000  # ONNX Runtime itself is more than that


def test_it_is_timed_there_and_not_on_the_way(model: Path) -> None:
    with RemoteRuntime(model, "cpu") as there:
        call = there.prepare(FEED)
        assert isinstance(call, SelfTimed)
        begin = time.perf_counter()
        own = call()
        assert 0 < own < time.perf_counter() - begin


def test_errors_cross_over_as_what_they_are(model: Path) -> None:
    with RemoteRuntime(model, "cpu") as there:
        with pytest.raises(DataError, match="takes the inputs 'x'"):
            there.run({"z": FEED["x"]})
        assert there.run(FEED)["y"].shape == (2, 4)  # and it goes on


def test_what_an_engine_cannot_load(tmp_path: Path) -> None:
    path = tmp_path / "none.onnx"
    path.write_bytes(b"this is no model")
    with pytest.raises(ModelError, match=r"none\.onnx"):
        RemoteRuntime(path, "cpu")


def test_a_crash_is_an_error_with_its_signal(faulty: Callable[[str], None], model: Path) -> None:
    faulty("os.kill(os.getpid(), signal.SIGSEGV)")
    with pytest.raises(ModelError, match="on cpu crashed with SIGSEGV: the engine says goodbye"):
        RemoteRuntime(model, "cpu")


def test_an_exit_is_an_error_with_its_code(faulty: Callable[[str], None], model: Path) -> None:
    faulty("os._exit(7)")
    with pytest.raises(ModelError, match=r"ended its process \(exit code 7\)"):
        RemoteRuntime(model, "cpu")


def test_an_engine_that_hangs_is_given_up(faulty: Callable[[str], None], model: Path) -> None:
    faulty("time.sleep(600)")
    with pytest.raises(ModelError, match="did not answer within 3 s and was given up"):
        RemoteRuntime(model, "cpu", patience=3.0)


def test_any_other_error_is_the_entrys_own(faulty: Callable[[str], None], model: Path) -> None:
    faulty("raise ZeroDivisionError('in the engine')")
    with pytest.raises(ModelError, match="ZeroDivisionError: in the engine"):
        RemoteRuntime(model, "cpu")


def test_killed_while_it_runs(model: Path) -> None:
    with RemoteRuntime(model, "cpu") as there:
        os.kill(there._process._process.pid, signal.SIGKILL)
        with pytest.raises(ModelError, match=r"crashed with SIGKILL \(out of memory\?\)"):
            there.run(FEED)
        with pytest.raises(ModelError, match="its process has ended"):
            there.run(FEED)


def test_nothing_is_left_when_it_is_closed(model: Path) -> None:
    there = RemoteRuntime(model, "cpu")
    pid = there._process._process.pid
    there.close()
    there.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(RuntimeError, match="closed"):
        there.run(FEED)


def test_peak_memory_holds_that_of_processes_below() -> None:
    block = np.ones(50_000_000, np.uint8)
    alone = peak_bytes()
    if alone is None:
        pytest.skip("this kernel tells no peak")
    assert alone > block.nbytes
    child = subprocess.Popen(
        [sys.executable, "-c", "b = bytearray(90_000_000); print(len(b), flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with child:
        assert child.stdout is not None
        child.stdout.readline()
        both = peak_bytes()
        child.communicate(b"\n")
    assert both is not None
    assert both > alone + 80_000_000
    assert peak_bytes(child.pid) is None
