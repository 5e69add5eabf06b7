"""Signals that stop the program are like Ctrl-C, and wait for what must not be interrupted."""

from __future__ import annotations

import signal
import threading

import pytest

from runtimes.signals import exit_code, stopping_signals, uninterrupted


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_they_interrupt_and_are_told_apart(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stopping_signals() as received, pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)
    assert received == [number]
    assert exit_code(received) == 128 + number
    assert signal.getsignal(number) is before
    assert exit_code([]) == 130


def test_one_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopping_signals() as received, uninterrupted():
            signal.raise_signal(signal.SIGHUP)
        assert received == []
    finally:
        signal.signal(signal.SIGHUP, before)


def test_they_wait_for_the_end_of_a_block() -> None:
    done = []

    def work() -> None:
        with uninterrupted():
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)
            done.append("block")
        done.append("never")

    with stopping_signals(), pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["block"]


def test_other_threads_leave_signals_alone() -> None:
    found = []

    def work() -> None:
        with stopping_signals(), uninterrupted():
            found.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [before]
