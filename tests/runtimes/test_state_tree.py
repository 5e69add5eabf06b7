"""Trees of values and arrays, written down and taken up again."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from runtimes.state_tree import packed_tree, unpacked_tree


def test_a_tree_comes_back_with_all_its_bits() -> None:
    tree = {
        "list": [1, 0.1, -math.inf, None, True, "text"],
        "dict": {"array": "no array", "float": np.float32(0.1)},
        "values": np.arange(6, dtype=np.int8).reshape(2, 3),
    }
    json, arrays = packed_tree(tree)
    found = unpacked_tree(json, arrays)
    assert found["list"] == tree["list"]
    assert found["dict"] == {"array": "no array", "float": float(np.float32(0.1))}
    np.testing.assert_array_equal(found["values"], tree["values"])
    assert math.isnan(unpacked_tree(*packed_tree(math.nan)))


def test_what_has_no_place_is_refused() -> None:
    with pytest.raises(TypeError, match="a set has no place"):
        packed_tree({"a": {1}})
    with pytest.raises(TypeError, match="the key 1 is no text"):
        packed_tree({1: 2})


@pytest.mark.parametrize(
    "bad", [{"array": "missing"}, {"dict": []}, {"a": 1, "b": 2}, 0.5, {"float": "x"}, {"z": 1}]
)
def test_what_it_never_writes_is_refused(bad: Any) -> None:
    with pytest.raises(ValueError, match=r".+"):
        unpacked_tree([bad], {})


def test_a_tree_that_is_nested_too_deep_is_refused() -> None:
    deep: Any = []
    for _ in range(200):
        deep = [deep]
    with pytest.raises(ValueError, match="too deep"):
        unpacked_tree(deep, {})
