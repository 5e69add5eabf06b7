"""The state of a Keras model: variables that one call changes for the next.

A stateful RNN keeps its last state, and other layers may keep counts or averages in variables. In
an ONNX file, such a variable is either a constant, or an input with the saved value as its default
and an output with the next value.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from runtimes.base import Array
from runtimes.errors import ConversionError
from runtimes.keras_models.signature import unique_names


@dataclass(frozen=True)
class State:
    """A Keras variable that a call writes to, and the name that it has in the file."""

    name: str
    variable: Any

    @property
    def next_name(self) -> str:
        """The name of the output that holds the value after the run."""
        return f"{self.name}_next"


@dataclass(frozen=True)
class TracedState:
    """A state that is an input and an output of the graph, and its value in the model."""

    name: str
    next_name: str
    values: Array


def states_of(model: Any, moved: Sequence[Any] = ()) -> tuple[State, ...]:
    """The states of the stateful RNNs in ``model``, and the variables that a call has ``moved``.

    States of an RNN are called ``<layer>/h`` and ``<layer>/c``, others by the variable's path.
    """
    import keras

    variables, names = [], []
    for path, layer in _layers(model):
        if isinstance(layer, keras.layers.RNN) and layer.stateful:
            states = keras.tree.flatten(layer.states or [])
            variables += states
            names += [f"{path}/{part}" for part in _parts(layer, len(states))]
    known = {id(variable) for variable in variables}
    written = {id(v): v for v in moved if isinstance(v, keras.Variable) and id(v) not in known}
    others = list(written.values())
    variables += others
    names += [variable.path for variable in others]
    unique = unique_names(names)
    return tuple(State(name, one) for name, one in zip(unique, variables, strict=True))


def refuse_stateless(model: Any, states: Sequence[State], moved: Sequence[Any]) -> None:
    """Raise ``ConversionError`` if there is no state, or one that cannot be exported."""
    import keras

    if not states and not moved:
        raise ConversionError(
            f"the model {model.name!r} has no state that could become an input and an output: none "
            "of its RNN layers is stateful, and no call changes a variable; leave --stateful out"
        )
    narrow = [state.name for state in states if state.variable.dtype == "bfloat16"]
    if narrow:
        raise ConversionError(
            f"the model {model.name!r} keeps {', '.join(narrow)} in bfloat16, in which a file "
            "cannot be proven; build it with the dtype policy mixed_bfloat16, whose variables are "
            "float32"
        )
    unknown = {v.name: None for v in moved if not isinstance(v, keras.Variable)}
    if unknown:
        raise ConversionError(
            f"the model {model.name!r} keeps state in {', '.join(map(repr, unknown))}, which "
            "Keras does not track; make it a weight of its layer with "
            "self.add_weight(trainable=False)"
        )


def _layers(model: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """Every layer inside ``model`` with its path, which leaves out the model itself."""
    for layer in model._flatten_layers(include_self=False, recursive=False):
        path = f"{above}{layer.name}"
        yield path, layer
        yield from _layers(layer, f"{path}/")


def _parts(layer: Any, count: int) -> list[str]:
    """Names for the states of one layer, as ONNX names those of its operators."""
    if count == 1:
        return ["h"]
    if count == 2 and "LSTM" in type(layer.cell).__name__:
        return ["h", "c"]
    return [f"state_{index}" for index in range(count)]
