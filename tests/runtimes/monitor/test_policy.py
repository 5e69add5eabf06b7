"""Policies from files: what they may say, and that they name no one to call."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runtimes.errors import DataError
from runtimes.monitor.policy import Policy


def test_what_is_not_said_is_the_default() -> None:
    policy = Policy.from_json({"alpha": 0.001, "actions": {"shadow": "alarm"}})
    assert policy.alpha == 0.001
    assert policy.actions["shadow"] == "alarm"
    assert policy.actions["saturation"] == Policy().actions["saturation"]


def test_it_reads_what_it_writes() -> None:
    policy = Policy(clean=7, tolerance={"inputs": 0.3})
    assert Policy.from_json(json.loads(json.dumps(policy.to_json()))) == policy


def test_what_is_ignored_is_not_tested() -> None:
    assert "shadow" not in Policy(actions={"shadow": "ignore"}).tested()


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "not a JSON object"),
        ({"webhook": "http://inside/"}, "may not choose whom the server calls"),
        ({"alfa": 0.1}, "did you mean 'alpha'"),
        ({"alpha": 0}, "alpha is 0"),
        ({"alpha": "0.01"}, "alpha is '0.01'"),
        ({"alpha": float("nan")}, "alpha is nan"),
        ({"budget": 2}, "budget is 2"),
        ({"actions": []}, "actions is not"),
        ({"actions": {"input": "log"}}, "did you mean 'inputs'"),
        ({"actions": {"inputs": "shout"}}, "'shout'"),
        ({"tolerance": {"inputs": -1}}, "tolerance.inputs is -1"),
        ({"clean": 0}, "clean is 0"),
        ({"clean": 10**12}, "clean is"),
        ({"comes_back": 1}, "comes_back"),
    ],
)
def test_what_cannot_be_is_refused(document: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Policy.from_json(document)


@pytest.mark.parametrize("address", ["file:///etc/passwd", "ftp://host/", "http://", "http://["])
def test_a_webhook_is_an_address_on_the_web(address: str) -> None:
    with pytest.raises(DataError, match="no http"):
        Policy(webhook=address)
