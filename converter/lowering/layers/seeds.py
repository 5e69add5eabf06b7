"""Seeds that move on with each call: what is drawn from them is no constant.

While tracing, the state of a ``SeedGenerator`` is a number like any other, and the random
numbers of the one call that is traced would be frozen. The marker keeps them apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from converter.lowering.builder import Builder
from converter.lowering.markers import Lowering, Marker, Replacement, mark

_KIND = "moving_seed"


def seed_replacements() -> list[Replacement]:
    """The method that every random function of Keras draws its seed with."""
    import keras

    return [Replacement(keras.random.SeedGenerator, "next", _next)]


def seed_lowerings() -> Mapping[str, Lowering]:
    """The marker as a tensor that is no constant, for its consumers to refuse."""
    return {_KIND: _lower}


def _next(generator: Any, ordered: bool = True) -> Any:
    import keras

    state = keras.ops.convert_to_tensor(generator.state)
    return mark(_KIND, {"seed": state}, [(tuple(state.shape), state.dtype)])[0]


def _lower(build: Builder, marker: Marker) -> list[str]:
    return [build.op("Identity", marker.inputs["seed"])]
