"""Interleaving with a clock of the test's own, and intervals that hold what they claim."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.timing import interleave, median_ratio


class Machine:
    """A clock that stands still unless something runs."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[str] = []

    def clock(self) -> float:
        return self.now

    def function(self, name: str, seconds: float) -> Callable[[], None]:
        def run() -> None:
            self.calls.append(name)
            self.now += seconds

        return run


def test_each_call_is_timed_by_itself() -> None:
    machine = Machine()
    seconds = interleave(
        [machine.function("a", 0.01), machine.function("b", 0.03)],
        min_time=1,
        max_time=10,
        clock=machine.clock,
    )
    assert seconds.shape == (2, 25)
    np.testing.assert_allclose(seconds[0], 0.01)
    np.testing.assert_allclose(seconds[1], 0.03)


def test_calls_are_paired_in_both_orders_after_a_warm_up() -> None:
    machine = Machine()
    functions = [machine.function("a", 0.001), machine.function("b", 0.001)]
    seconds = interleave(functions, min_time=0.2, max_time=10, clock=machine.clock)
    rounds = seconds.shape[1]
    assert len(machine.calls) > 2 * rounds  # the warm-up does not count
    measured = machine.calls[-2 * rounds :]
    pairs = ["".join(measured[i : i + 2]) for i in range(0, len(measured), 2)]
    assert set(pairs) == {"ab", "ba"}
    assert 0.3 < pairs.count("ab") / rounds < 0.7


@given(st.floats(1e-4, 30), st.floats(0.01, 5), st.floats(0, 10))
def test_the_budget_is_kept_but_for_the_rounds_under_way(
    call: float, min_time: float, more: float
) -> None:
    machine = Machine()
    max_time = min_time + more
    functions = [machine.function("a", call)]
    seconds = interleave(functions, min_time=min_time, max_time=max_time, clock=machine.clock)
    assert seconds.shape[1] >= 1
    assert machine.now <= max_time + 2 * call + 1e-9
    if machine.now < max_time:
        assert seconds.shape[1] >= 10
        assert seconds.sum() >= min_time * (1 - 1e-9)


@given(st.integers(1, 200), st.floats(0.1, 10))
def test_the_interval_holds_the_ratio_of_the_medians(count: int, factor: float) -> None:
    rng = np.random.default_rng(count)
    base = rng.lognormal(0, 0.2, count)
    found = median_ratio(base * factor, base)
    assert found.value == pytest.approx(factor)
    assert found.low <= found.value <= found.high
    assert found.low == pytest.approx(factor)  # paired: the same noise on both sides


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(60):
        one, other = rng.lognormal(0, 0.1, (2, 150))
        found = median_ratio(1.2 * one, other, seed=trial)
        covered += found.low <= 1.2 <= found.high
    assert covered >= 52


def test_the_interval_repeats_and_needs_samples() -> None:
    one, other = np.random.default_rng(0).random((2, 50))
    assert median_ratio(one, other, seed=1) == median_ratio(one, other, seed=1)
    with pytest.raises(ValueError, match="at least one"):
        median_ratio(one[:0], other[:0])
    with pytest.raises(ValueError, match="as many samples on both sides"):
        median_ratio(one, other[:4])
