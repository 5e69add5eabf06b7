"""What a case of the layer table is: a layer with its arguments, and the inputs it is called on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Given:
    """One input: its shape without the batch (``None`` for a dynamic dimension) and its values.

    ``draw(rng, shape)`` gives the values; without it floats are standard normal. ``dynamic``
    are the sizes fed for the dynamic dimensions, in order.
    """

    shape: tuple[int | None, ...]
    dtype: str = "float32"
    draw: Callable[[np.random.Generator, tuple[int, ...]], Any] | None = None
    dynamic: tuple[int, ...] = ()

    def sample(self, rng: np.random.Generator, batch: int) -> Array:
        sizes = iter(self.dynamic)
        shape = (batch, *(next(sizes) if dim is None else dim for dim in self.shape))
        values = self.draw(rng, shape) if self.draw else rng.standard_normal(shape)
        return np.asarray(values, dtype=object if self.dtype == "string" else self.dtype)


@dataclass(frozen=True)
class Refusal:
    """A layer that has no right ONNX form: the operator to be named, and why it is so."""

    operator: str
    because: str


@dataclass(frozen=True)
class Case:
    """One variant of one layer.

    ``make(keras)`` gives the layer; ``call(layer, *tensors)`` calls it, by default on the one
    tensor, or on the list of them. ``batch`` fixes the batch size (stateful layers). Where
    ``needs`` names a package that is not installed, Keras cannot make the layer.
    """

    layer: str
    variant: str
    make: Callable[[Any], Any]
    inputs: tuple[Given, ...]
    call: Callable[..., Any] | None = None
    batch: int | None = None
    needs: str | None = None
    refused: Refusal | None = None
    tolerance: float = 1e-4

    @property
    def id(self) -> str:
        return f"{self.layer}-{self.variant}"

    def model(self, keras: Any) -> Any:
        """The layer as a functional model with seeded random weights."""
        keras.backend.clear_session()
        keras.utils.set_random_seed(0)
        tensors = [
            keras.Input(batch_shape=(self.batch, *given.shape), dtype=given.dtype, name=f"in_{i}")
            for i, given in enumerate(self.inputs)
        ]
        layer = self.make(keras)
        call = self.call or (lambda layer, *args: layer(args[0] if len(args) == 1 else list(args)))
        model = keras.Model(tensors, call(layer, *tensors), name="case")
        randomize(model)
        return model

    def feeds(self) -> list[dict[str, Array]]:
        """Seeded inputs, a batch of one and a batch of three."""
        rng = np.random.default_rng(1)
        batches = (1, 3) if self.batch is None else (self.batch,)
        return [
            {f"in_{i}": given.sample(rng, batch) for i, given in enumerate(self.inputs)}
            for batch in batches
        ]


def case(
    layer: str,
    *inputs: Given | tuple[int | None, ...],
    variant: str | None = None,
    make: Callable[[Any], Any] | None = None,
    call: Callable[..., Any] | None = None,
    batch: int | None = None,
    needs: str | None = None,
    refused: Refusal | None = None,
    tolerance: float = 1e-4,
    **arguments: Any,
) -> Case:
    """A case from the layer's arguments, which name it as well, with the inputs' shapes."""
    given = tuple(i if isinstance(i, Given) else Given(i) for i in inputs)
    shapes = "+".join("x".join(str(dim) for dim in g.shape) or "scalar" for g in given)
    named = ",".join([shapes, *(f"{key}={_text(value)}" for key, value in arguments.items())])
    return Case(
        layer=layer,
        variant=named if variant is None else variant,
        make=make or (lambda keras: getattr(keras.layers, layer)(**arguments)),
        inputs=given,
        call=call,
        batch=batch,
        needs=needs,
        refused=refused,
        tolerance=tolerance,
    )


def refused(cases: Sequence[Case], refusal: Refusal) -> list[Case]:
    """The same cases, expected to be refused."""
    return [replace(case, refused=refusal) for case in cases]


def integers(high: int, low: int = 0) -> Callable[[np.random.Generator, tuple[int, ...]], Any]:
    """Draw whole numbers in ``low .. high - 1``."""
    return lambda rng, shape: rng.integers(low, high, shape)


def uniform(low: float, high: float) -> Callable[[np.random.Generator, tuple[int, ...]], Any]:
    """Draw reals in ``low .. high``."""
    return lambda rng, shape: rng.uniform(low, high, shape)


def words(*vocabulary: str) -> Callable[[np.random.Generator, tuple[int, ...]], Any]:
    """Draw from ``vocabulary``."""
    return lambda rng, shape: rng.choice(np.array(vocabulary, dtype=object), shape)


def masks(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Draw a mask that is true at about two places in three, and at the first."""
    mask = rng.random(shape) < 0.66
    mask[..., 0] = True
    return mask


def randomize(model: Any, seed: int = 2) -> None:
    """Give every floating-point variable random values; variances are positive.

    States of stateful layers go back to zero: a model is exported as it starts.
    """
    rng = np.random.default_rng(seed)
    for variable in model.variables:
        if not str(variable.dtype).startswith(("float", "bfloat")):
            continue
        if "variance" in variable.path:
            values = rng.uniform(0.5, 1.5, variable.shape)
        else:
            values = rng.standard_normal(variable.shape) * 0.5
        variable.assign(values)
    reset_states(model)


def reset_states(model: Any) -> None:
    """Reset the layers that remember their last call."""
    for layer in model._flatten_layers():
        if getattr(layer, "stateful", False) and hasattr(layer, "reset_state"):
            layer.reset_state()


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return "{" + " ".join(f"{k}:{_text(v)}" for k, v in value.items()) + "}"
    return str(value).replace(" ", "")
