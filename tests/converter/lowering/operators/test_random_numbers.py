"""Random numbers: constants of a constant seed, and else refused with the way out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from runtimes.errors import UnsupportedOperator


def model_of(keras: Any, function: Any) -> Any:
    tensor = keras.Input((4,))
    return keras.Model(tensor, keras.layers.Lambda(function, name="drawn")(tensor))


@pytest.mark.parametrize("name", ["normal", "uniform", "truncated_normal"])
def test_a_constant_seed_gives_constants(keras: Any, parity: Any, name: str) -> None:
    draw = getattr(keras.random, name)
    model = model_of(keras, lambda x: x + draw((4,), seed=3))
    assert set(parity(model, [[np.ones((2, 4), np.float32)]])) == {"Add"}


def test_a_seed_that_moves_on_is_refused(keras: Any) -> None:
    from converter.export.export import export

    model = model_of(keras, lambda x: x + keras.random.normal((4,)))
    with pytest.raises(UnsupportedOperator, match=r"'drawn'.*seed moves on.*as an input"):
        export(model)


def test_other_numbers_at_each_run_are_refused(keras: Any) -> None:
    import tensorflow as tf

    from converter.export.export import export

    model = model_of(keras, lambda x: x + tf.random.normal((4,)))
    with pytest.raises(UnsupportedOperator, match=r"'drawn'.*RandomStandardNormal.*at each run"):
        export(model)
