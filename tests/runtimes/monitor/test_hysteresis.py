"""Who answers: back and forth, but not for ever."""

from __future__ import annotations

import json

import pytest

from runtimes.monitor.hysteresis import Hysteresis
from runtimes.monitor.policy import Policy


def test_only_what_is_to_roll_back_does() -> None:
    state = Hysteresis(Policy(actions={"inputs": "alarm", "outputs": "log"}))
    assert state.alarm("inputs")
    assert state.alarm("outputs")
    assert not state.uses_fp32
    assert state.alarm("saturation")
    assert state.uses_fp32


def test_an_alarm_that_stands_is_not_told_again() -> None:
    state = Hysteresis(Policy())
    assert state.alarm("inputs")
    assert not state.alarm("inputs")


def test_a_clean_stretch_brings_the_compressed_model_back() -> None:
    state = Hysteresis(Policy(clean=50))
    state.alarm("shadow")
    assert not state.clean("shadow", 49)
    assert state.uses_fp32
    assert state.clean("shadow", 50)
    assert not state.uses_fp32
    assert not state.clean("shadow", 50)


def test_all_alarms_have_to_be_over() -> None:
    state = Hysteresis(Policy(clean=5))
    state.alarm("shadow")
    state.alarm("saturation")
    assert state.rollbacks == 1
    state.clean("shadow", 5)
    assert state.uses_fp32
    state.clean("saturation", 5)
    assert not state.uses_fp32


def test_each_rollback_asks_for_twice_the_stretch_and_the_last_for_a_hand() -> None:
    state = Hysteresis(Policy(clean=10, most_rollbacks=3))
    stretches = []
    for _ in range(3):
        state.alarm("shadow")
        stretches.append(state.stretch)
        state.clean("shadow", state.stretch)
    assert stretches == [10, 20, 40]
    assert state.by_hand
    assert state.uses_fp32
    state.come_back()
    assert not state.uses_fp32
    assert state.stretch == 10


def test_it_may_be_told_to_wait_for_a_hand_at_once() -> None:
    state = Hysteresis(Policy(comes_back=False))
    state.alarm("shadow")
    state.clean("shadow", 10**9)
    assert state.uses_fp32


def test_it_goes_on_where_it_was_saved() -> None:
    state, other = Hysteresis(Policy()), Hysteresis(Policy())
    state.alarm("shadow")
    other.take_up(json.loads(json.dumps(state.to_dict())))
    assert other == state


@pytest.mark.parametrize("damaged", [{}, {"standing": [], "rollbacks": -1, "by_hand": False}])
def test_a_damaged_state_is_refused(damaged: dict[str, object]) -> None:
    with pytest.raises((ValueError, KeyError)):
        Hysteresis(Policy()).take_up(damaged)
