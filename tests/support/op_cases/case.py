"""What a case of the table of ``keras.ops`` is: a function, its inputs, and how it is called."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from layer_cases.case import Array, Refusal

Draw = Callable[[np.random.Generator, tuple[int, ...]], Any]

# A dimension with a name is dynamic in the dynamic variant of a case; the second size is fed
# there alone.
SIZES = {"n": (5, 7), "m": (4, 3), "k": (3, 6), "h": (9, 12), "w": (8, 11)}


@dataclass(frozen=True)
class Tensor:
    """One input: its shape without the batch, numbers and names of ``SIZES``, and its values."""

    shape: tuple[int | str, ...]
    dtype: str
    draw: Draw

    def __str__(self) -> str:
        return f"{self.dtype}[{'x'.join(map(str, self.shape))}]"

    def static(self) -> tuple[int, ...]:
        return self.sized(0)

    def dynamic(self) -> tuple[int | None, ...]:
        return tuple(None if isinstance(dim, str) else dim for dim in self.shape)

    def sized(self, which: int) -> tuple[int, ...]:
        return tuple(SIZES[dim][which] if isinstance(dim, str) else dim for dim in self.shape)


def F(*shape: int | str, low: float | None = None, high: float = 1.0) -> Tensor:
    """Floats, standard normal or uniform in ``low .. high``."""
    if low is None:
        return Tensor(shape, "float32", lambda rng, sizes: rng.standard_normal(sizes))
    return Tensor(shape, "float32", lambda rng, sizes: rng.uniform(low, high, sizes))


def I(*shape: int | str, low: int = -5, high: int = 6, dtype: str = "int32") -> Tensor:  # noqa: E743
    """Whole numbers in ``low .. high - 1``."""
    return Tensor(shape, dtype, lambda rng, sizes: rng.integers(low, high, sizes))


def B(*shape: int | str) -> Tensor:
    """Booleans."""
    return Tensor(shape, "bool", lambda rng, sizes: rng.random(sizes) < 0.5)


def among(*values: float) -> Draw:
    """Draw from ``values``."""
    return lambda rng, sizes: rng.choice(np.array(values, np.float32), sizes)


def special(*shape: int | str) -> Tensor:
    """Floats among which are NaN and both infinities."""
    return Tensor(shape, "float32", among(-2.5, -1.0, 0.0, 0.5, 3.0, np.nan, np.inf, -np.inf))


def with_nan(*shape: int | str) -> Tensor:
    """Floats among which are NaN, but for the first of each row."""

    def draw(rng: np.random.Generator, sizes: tuple[int, ...]) -> Any:
        values = rng.standard_normal(sizes)
        values[rng.random(sizes) < 0.3] = np.nan
        values[..., 0] = 1.5
        return values

    return Tensor(shape, "float32", draw)


def shuffled(*shape: int | str, dtype: str = "int32") -> Tensor:
    """Whole numbers that all differ along the last axis."""

    def draw(rng: np.random.Generator, sizes: tuple[int, ...]) -> Any:
        return rng.permuted(np.broadcast_to(np.arange(sizes[-1]), sizes), axis=-1)

    return Tensor(shape, dtype, draw)


def ascending(*shape: int | str, dtype: str = "float32") -> Tensor:
    """Numbers in ascending order along the last axis."""

    def draw(rng: np.random.Generator, sizes: tuple[int, ...]) -> Any:
        return np.sort(rng.integers(-9, 10, sizes) / (2 if dtype == "float32" else 1), axis=-1)

    return Tensor(shape, dtype, draw)


def well_conditioned(*shape: int | str, symmetric: bool = False) -> Tensor:
    """Square matrices that are easy to invert; symmetric ones are positive definite."""

    def draw(rng: np.random.Generator, sizes: tuple[int, ...]) -> Any:
        matrix = rng.uniform(-1, 1, sizes)
        if symmetric:
            matrix = matrix @ np.swapaxes(matrix, -1, -2)
        return matrix + np.eye(sizes[-1]) * (1 if symmetric else sizes[-1])

    return Tensor(shape, "float32", draw)


@dataclass(frozen=True)
class OpCase:
    """One way to call a function; ``call(ops, *tensors)`` gives a tensor or several.

    ``dynamic``: named dimensions are unknown to the model. ``shapes`` gives symbolic
    outputs for symbolic inputs, where Keras itself cannot.
    """

    op: str
    variant: str
    inputs: tuple[Tensor, ...]
    call: Callable[..., Any]
    dynamic: bool
    tolerance: float
    refused: Refusal | None = None
    shapes: Callable[..., Any] | None = None

    @property
    def id(self) -> str:
        return f"{self.op}-{self.variant}"

    def called(self, keras: Any, prefix: str = "") -> tuple[list[Any], Any]:
        """Symbolic inputs and what the function gives for them, in a layer of its own."""
        call, shapes = self.call, self.shapes

        class Op(keras.layers.Layer):  # type: ignore[misc]
            def call(self, *tensors: Any) -> Any:
                return call(keras.ops, *tensors)

            if shapes is not None:

                def compute_output_spec(self, *tensors: Any) -> Any:
                    return shapes(*tensors)

        tensors = [
            keras.Input(
                given.dynamic() if self.dynamic else given.static(),
                dtype=given.dtype,
                name=f"{prefix}in_{i}",
            )
            for i, given in enumerate(self.inputs)
        ]
        return tensors, Op(name=f"{prefix}op")(*tensors)

    def feeds(self, prefix: str = "") -> list[dict[str, Array]]:
        """Seeded inputs: batch 1 and 3, the second with other sizes where sizes are dynamic."""
        rng = np.random.default_rng(1)
        return [
            {
                f"{prefix}in_{i}": np.asarray(
                    given.draw(rng, (batch, *given.sized(int(batch > 1 and self.dynamic)))),
                    given.dtype,
                )
                for i, given in enumerate(self.inputs)
            }
            for batch in (1, 3)
        ]


def op(
    name: str,
    *inputs: Tensor,
    call: Callable[..., Any] | None = None,
    variant: str = "",
    dynamic: bool = True,
    tolerance: float = 1e-4,
    shapes: Callable[..., Any] | None = None,
    **arguments: Any,
) -> list[OpCase]:
    """The cases of one call: static, and dynamic where an input has a named dimension.

    By default the function ``name`` is called on the tensors with ``arguments``.
    """

    def by_name(ops: Any, *tensors: Any) -> Any:
        function = ops
        for part in name.split("."):
            function = getattr(function, part)
        return function(*tensors, **arguments)

    forms = [False]
    if dynamic and any(isinstance(dim, str) for given in inputs for dim in given.shape):
        forms.append(True)
    parts = ["+".join(map(str, inputs)), variant]
    parts += [f"{key}={value}".replace(" ", "") for key, value in arguments.items()]
    named = ",".join(part for part in parts if part)
    return [
        OpCase(
            op=name,
            variant=f"{named},{'dynamic' if form else 'static'}",
            inputs=inputs,
            call=call or by_name,
            dynamic=form,
            tolerance=tolerance,
            shapes=shapes,
        )
        for form in forms
    ]


def on_each(names: str, *choices: Tensor | tuple[Tensor, ...], **options: Any) -> list[OpCase]:
    """Every function of ``names`` (separated by spaces) on each of ``choices``."""
    found: list[OpCase] = []
    for name in names.split():
        for choice in choices:
            inputs = choice if isinstance(choice, tuple) else (choice,)
            found += op(name, *inputs, **options)
    return found


def refused(cases: Sequence[OpCase], operator: str, because: str) -> list[OpCase]:
    """The same cases, expected to be refused by the name of ``operator``."""
    return [replace(case, refused=Refusal(operator, because)) for case in cases]
