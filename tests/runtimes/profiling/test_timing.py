"""Interleaving with a clock of the test's own, and intervals that hold what they claim."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.base import SelfTimed
from runtimes.profiling.timing import interleave, ratio_of_medians


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


def test_a_function_that_times_itself_is_believed() -> None:
    machine = Machine()
    elsewhere = machine.function("through a pipe", 0.05)

    def run() -> float:
        elsewhere()
        return 0.002

    seconds = interleave(
        [SelfTimed(run), machine.function("here", 0.01)],
        min_time=1,
        max_time=10,
        clock=machine.clock,
    )
    np.testing.assert_array_equal(seconds[0], 0.002)
    np.testing.assert_allclose(seconds[1], 0.01)


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


launches = st.lists(st.floats(0.5, 2), min_size=2, max_size=11)


@given(launches, st.floats(0.1, 10))
def test_the_interval_surrounds_the_mean_ratio_of_the_launches(
    ratios: list[float], base: float
) -> None:
    timed = [(np.full(3, base * ratio), np.full(3, base)) for ratio in ratios]
    found = ratio_of_medians(timed)
    assert found.value == pytest.approx(np.exp(np.mean(np.log(ratios))))
    assert found.low <= found.value <= found.high
    inverse = ratio_of_medians([(other, one) for one, other in timed])
    assert inverse.value == pytest.approx(1 / found.value)
    assert inverse.low == pytest.approx(1 / found.high)


def test_a_slow_outlier_within_a_launch_does_not_count() -> None:
    one = np.array([1.0, 1.0, 1.0, 1.0, 50.0])
    found = ratio_of_medians([(one, one / 2), (one, one[::-1] / 2)])
    assert (found.value, found.low, found.high) == pytest.approx((2, 2, 2))


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    # Each launch has a speed of its own, which more runs in it would not average away.
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        timed = [
            (1.2 * rng.lognormal(0, 0.05) * rng.lognormal(0, 0.1, 40), rng.lognormal(0, 0.1, 40))
            for _ in range(5)
        ]
        found = ratio_of_medians(timed)
        covered += found.low <= 1.2 <= found.high
    assert 182 <= covered <= 198


@pytest.mark.parametrize("count", [0, 1, 12])
def test_an_interval_needs_several_launches(count: int) -> None:
    with pytest.raises(ValueError, match="needs 2 to 11 launches"):
        ratio_of_medians([(np.ones(3), np.ones(3))] * count)
