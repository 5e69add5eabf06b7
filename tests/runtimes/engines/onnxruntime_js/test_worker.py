"""A worker that answers, fails, dies, hangs or lies, and that never stays behind."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import fake_worker
import pytest

from runtimes.engines.onnxruntime_js.worker import AnsweredError, Worker, WorkerFailed

pytestmark = pytest.mark.fast

FAKE = [sys.executable, fake_worker.__file__]


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker([*FAKE, "obeys"], seconds=60)
    yield worker
    worker.close()


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"  # whoever inherited it may not have asked for its exit code yet


def test_it_greets_and_answers(worker: Worker) -> None:
    assert worker.greeting == {"ready": True, "pid": worker.pid}
    for body in (b"", b"abc", bytes(5_000_000)):
        answer = worker.ask({"do": "echo", "n": 1}, body)
        assert answer.header == {"got": {"do": "echo", "n": 1}}
        assert answer.body == body


def test_an_error_is_an_answer_and_the_next_question_is_answered(worker: Worker) -> None:
    with pytest.raises(AnsweredError, match=r"^a matmul of nothing$"):
        worker.ask({"do": "fail"})
    assert worker.ask({"do": "echo"}).header == {"got": {"do": "echo"}}


def test_what_is_printed_gets_between_no_frames(worker: Worker) -> None:
    assert worker.ask({"do": "print"}).header == {}
    assert worker.ask({"do": "echo"}).header == {"got": {"do": "echo"}}


def test_close_ends_it_whatever_it_does(worker: Worker) -> None:
    worker.close()
    worker.close()
    assert not is_running(worker.pid)
    with pytest.raises(WorkerFailed, match="has ended; open the model again"):
        worker.ask({"do": "echo"})


def test_one_that_is_dropped_is_ended() -> None:
    worker = Worker([*FAKE, "obeys"], seconds=60)
    pid = worker.pid
    del worker
    assert not is_running(pid)


@pytest.mark.parametrize(
    ("number", "said"),
    [(signal.SIGKILL, r"was killed \(SIGKILL: out of memory\?\)"), (signal.SIGSEGV, "SIGSEGV")],
)
def test_one_that_dies_is_named(worker: Worker, number: int, said: str) -> None:
    with pytest.raises(WorkerFailed, match=said):
        worker.ask({"do": "die", "signal": int(number)})
    with pytest.raises(WorkerFailed, match="has ended"):
        worker.ask({"do": "echo"})
    assert not is_running(worker.pid)


def test_one_that_exits_is_quoted(worker: Worker) -> None:
    with pytest.raises(WorkerFailed, match=r"^the process ended with exit code 3: RangeError: too"):
        worker.ask({"do": "exit"})


def test_one_that_dies_before_it_is_asked_is_named(worker: Worker) -> None:
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(WorkerFailed, match="SIGKILL"):
        worker.ask({"do": "echo"}, bytes(1_000_000))


def test_one_that_hangs_is_ended() -> None:
    worker = Worker([*FAKE, "obeys"], seconds=20)
    worker._seconds = 0.5
    with pytest.raises(WorkerFailed, match=r"gave no answer for 0\.5 s and was ended"):
        worker.ask({"do": "hang"})
    assert not is_running(worker.pid)


def test_one_that_does_not_read_is_ended() -> None:
    worker = Worker([*FAKE, "obeys"], seconds=20)
    os.kill(worker.pid, signal.SIGSTOP)
    worker._seconds = 0.5
    with pytest.raises(WorkerFailed, match=r"gave no answer for 0\.5 s"):
        worker.ask({"do": "echo"}, bytes(10_000_000))
    assert not is_running(worker.pid)


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("no-start", "ended with exit code 1: SyntaxError: nothing here starts"),
        ("refuses", "not today"),
        ("mute", r"gave no answer for 0\.5 s"),
    ],
)
def test_one_that_does_not_get_ready_is_no_worker(mode: str, message: str) -> None:
    with pytest.raises(WorkerFailed, match=message):
        Worker([*FAKE, mode], seconds=0.5 if mode == "mute" else 60)


def test_a_command_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(WorkerFailed, match="nothing does not start: No such file"):
        Worker([str(tmp_path / "nothing")], seconds=1)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", "a frame starts with b'KNXF', not with b'HTTP'"),
        (struct.pack("<4sIQ", b"KNXF", 2**32 - 1, 0), "a header of 4294967295 bytes"),
        (struct.pack("<4sIQ", b"KNXF", 2, 2**63), "a body of 9223372036854775808 bytes"),
        (
            struct.pack("<4sIQ", b"KNXF", 4, 0) + b"null",
            "the header of a frame is a NoneType, not an object",
        ),
        (
            struct.pack("<4sIQ", b"KNXF", 4, 0) + b"\xff\xff\xff\xff",
            "the header of a frame is not JSON",
        ),
    ],
)
def test_one_that_sends_no_frame_is_ended(worker: Worker, data: bytes, message: str) -> None:
    with pytest.raises(WorkerFailed, match=f"the process sent no frame: {message}"):
        worker.ask({"do": "raw"}, data)
    assert not is_running(worker.pid)


@pytest.mark.parametrize("data", [b"KN", struct.pack("<4sIQ", b"KNXF", 2, 2**31) + b"{}abc"])
def test_one_that_ends_within_a_frame_is_named(worker: Worker, data: bytes) -> None:
    with pytest.raises(WorkerFailed, match="the process ended with exit code 0"):
        worker.ask({"do": "half"}, data)


def test_an_interruption_ends_it(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(type(worker._channel), "receive", interrupt)
    with pytest.raises(KeyboardInterrupt):
        worker.ask({"do": "hang"})
    assert not is_running(worker.pid)


def test_it_ends_with_the_process_that_started_it() -> None:
    started = (
        "import sys; from runtimes.engines.onnxruntime_js.worker import Worker\n"
        f"worker = Worker({[*FAKE, 'obeys']!r}, seconds=60)\n"
        "print(worker.pid, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", started],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_running(pid)
        parent.kill()
        parent.wait()
        until = time.monotonic() + 60
        while is_running(pid) and time.monotonic() < until:
            time.sleep(0.05)
    assert not is_running(pid)
