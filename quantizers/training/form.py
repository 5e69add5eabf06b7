"""What a graph is trained as: which variables there are, and what the graph reads of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import onnx_ir as ir

from quantizers.training.parameters import parameters_of
from quantizers.training.write import with_values
from runtimes.base import Array


@dataclass(frozen=True)
class Start:
    """What a variable starts from, and whether it is trained."""

    value: Array
    trainable: bool = True


@dataclass(frozen=True)
class Read:
    """What a graph reads: ``values`` of its parameters, ``given`` in place of initializers."""

    values: Mapping[str, Any]
    given: Mapping[str, Any]


class Form(Protocol):
    """One way to make variables of the initializers of ``model``."""

    @property
    def model(self) -> ir.Model:
        """The graph; it stays as it is."""

    def starts(self) -> dict[str, Start]:
        """The variables by name."""

    def read(self, variables: Mapping[str, Any]) -> Read:
        """What the graph reads of the variables, as TensorFlow tensors."""

    def written(self, arrays: Mapping[str, Array]) -> ir.Model:
        """A copy of the graph that holds what the variables are now: same nodes, same names."""

    def stored(self, arrays: Mapping[str, Array]) -> ir.Model:
        """The same as small as a file can hold it; ONNX Runtime makes ``written`` of it."""


@dataclass(frozen=True)
class PlainForm:
    """Each parameter is a variable of its own."""

    model: ir.Model

    def starts(self) -> dict[str, Start]:
        """The parameters as they are."""
        found = parameters_of(self.model)
        return {name: Start(one.initial("float32")) for name, one in found.items()}

    def read(self, variables: Mapping[str, Any]) -> Read:
        """The variables themselves."""
        return Read(variables, {})

    def written(self, arrays: Mapping[str, Array]) -> ir.Model:
        """Each parameter in its own dtype."""
        return with_values(self.model, arrays)

    def stored(self, arrays: Mapping[str, Array]) -> ir.Model:
        """The same."""
        return self.written(arrays)
