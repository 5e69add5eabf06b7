"""Hashes of whole numbers, of every length that their digits can have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from runtimes.errors import UnsupportedOperator

NUMBERS = sorted(
    {0, 2**31 - 1, -(2**31)}
    | {sign * 10**length + sign for length in range(9) for sign in (1, -1)}
    | {sign * (10**length - 1) for length in range(10) for sign in (1, -1)}
)
LONG = [sign * int("1234567890123456789"[:length]) for length in range(9, 20) for sign in (1, -1)]
EXTREMES = [2**63 - 1, -(2**63), 2**62]


def hashed(keras: Any, dtype: str, buckets: int = 1_000_003) -> Any:
    import tensorflow as tf

    tensor = keras.Input((None,), dtype=dtype)
    layer = keras.layers.Lambda(
        lambda x: tf.strings.to_hash_bucket_fast(tf.strings.as_string(x), buckets),
        name="hash",
        dtype="int64",
    )
    return keras.Model(tensor, layer(tensor))


@pytest.mark.parametrize(
    ("dtype", "numbers"), [("int32", NUMBERS), ("int64", [*NUMBERS, *LONG, *EXTREMES])]
)
def test_buckets_of_numbers(keras: Any, parity: Any, dtype: str, numbers: list[int]) -> None:
    parity(hashed(keras, dtype), [[np.array([numbers], dtype)]], tolerance=0)


@pytest.mark.parametrize("options", [{}, {"mask_value": 3}, {"output_mode": "one_hot"}])
def test_the_layer(keras: Any, parity: Any, options: dict[str, Any]) -> None:
    tensor = keras.Input((1,), dtype="int64")
    model = keras.Model(tensor, keras.layers.Hashing(5, **options)(tensor))
    parity(model, [[np.arange(12).reshape(12, 1)]], tolerance=0)


def test_text_is_refused_with_the_reason(keras: Any) -> None:
    from converter.export.export import export

    tensor = keras.Input((1,), dtype="string")
    layer = keras.layers.Hashing(5, name="hash")
    with pytest.raises(UnsupportedOperator, match=r"'hash'.*characters of a string.*StringLookup"):
        export(keras.Model(tensor, layer(tensor)))


def test_numbers_are_hashed_from_opset_18_on(keras: Any) -> None:
    from converter.export.export import export

    with pytest.raises(UnsupportedOperator, match=r"'hash'.*--opset 18"):
        export(hashed(keras, "int32"), opset=17)
