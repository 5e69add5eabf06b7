"""One formula for two uses: computed now with numpy, or written as ONNX nodes for later.

A formula takes ``xp``, which is ``NumpyMath`` or ``GraphMath``, and calculates with Python's
operators on what ``xp.places`` and ``xp.size`` give. All values are float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from converter.lowering.builder import Builder

_FLOAT, _INT64 = 1, 7


class NumpyMath:
    """The formula's value, as an array."""

    abs, exp, floor, maximum, minimum, round, sin = (
        np.abs,
        np.exp,
        np.floor,
        np.maximum,
        np.minimum,
        np.rint,
        np.sin,
    )

    @staticmethod
    def places(size: int) -> Any:
        """0, 1, … ``size`` - 1."""
        return np.arange(size, dtype=np.float32)

    @staticmethod
    def size(size: int) -> Any:
        """``size`` as a number of the formula."""
        return np.float32(size)

    @staticmethod
    def row(x: Any) -> Any:
        """A vector as a matrix of one row."""
        return x[None, :]

    @staticmethod
    def column(x: Any) -> Any:
        """A vector as a matrix of one column."""
        return x[:, None]

    @staticmethod
    def sum_of_rows(x: Any) -> Any:
        """The sum of each row of a matrix, as a column."""
        return x.sum(axis=1, keepdims=True, dtype=np.float32)

    @staticmethod
    def where(condition: Any, yes: Any, no: Any) -> Any:
        """``yes`` where the condition holds, else ``no``; both are calculated."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(condition, yes, no).astype(np.float32)


@dataclass(frozen=True)
class GraphValue:
    """A tensor of the graph in a formula; other operands are tensors or Python numbers."""

    build: Builder
    name: str

    def __add__(self, other: Any) -> GraphValue:
        return self._op("Add", self, other)

    def __radd__(self, other: Any) -> GraphValue:
        return self._op("Add", other, self)

    def __sub__(self, other: Any) -> GraphValue:
        return self._op("Sub", self, other)

    def __rsub__(self, other: Any) -> GraphValue:
        return self._op("Sub", other, self)

    def __mul__(self, other: Any) -> GraphValue:
        return self._op("Mul", self, other)

    def __rmul__(self, other: Any) -> GraphValue:
        return self._op("Mul", other, self)

    def __truediv__(self, other: Any) -> GraphValue:
        return self._op("Div", self, other)

    def __rtruediv__(self, other: Any) -> GraphValue:
        return self._op("Div", other, self)

    def __neg__(self) -> GraphValue:
        return self._op("Neg", self)

    def __and__(self, other: GraphValue) -> GraphValue:
        return self._op("And", self, other)

    def __lt__(self, other: Any) -> GraphValue:
        return self._op("Less", self, other)

    def __le__(self, other: Any) -> GraphValue:
        return self._op("LessOrEqual", self, other)

    def __gt__(self, other: Any) -> GraphValue:
        return self._op("Greater", self, other)

    def __ge__(self, other: Any) -> GraphValue:
        return self._op("GreaterOrEqual", self, other)

    def _op(self, op_type: str, *operands: Any) -> GraphValue:
        return GraphMath(self.build).op(op_type, *operands)


class GraphMath:
    """The formula as nodes; ``size`` below is a number or the name of an int64 scalar."""

    def __init__(self, build: Builder) -> None:
        self._build = build

    def op(self, op_type: str, *operands: Any) -> GraphValue:
        """A node of one output on tensors and numbers."""
        return GraphValue(
            self._build, self._build.op(op_type, *(self._tensor(each) for each in operands))
        )

    def places(self, size: int | str) -> GraphValue:
        """0, 1, … ``size`` - 1."""
        end = size if isinstance(size, str) else self._build.constant(size)
        counted = self._build.op("Range", self._build.constant(0), end, self._build.constant(1))
        return self._float(counted)

    def size(self, size: int | str) -> Any:
        """``size`` as a number of the formula."""
        return self._float(size) if isinstance(size, str) else float(size)

    def row(self, x: GraphValue) -> GraphValue:
        """A vector as a matrix of one row."""
        return GraphValue(self._build, self._build.unsqueeze(x.name, 0))

    def column(self, x: GraphValue) -> GraphValue:
        """A vector as a matrix of one column."""
        return GraphValue(self._build, self._build.unsqueeze(x.name, 1))

    def sum_of_rows(self, x: GraphValue) -> GraphValue:
        """The sum of each row of a matrix, as a column."""
        axes = self._build.constant([1])
        return GraphValue(self._build, self._build.op("ReduceSum", x.name, axes, keepdims=1))

    def where(self, condition: GraphValue, yes: Any, no: Any) -> GraphValue:
        """``yes`` where the condition holds, else ``no``; both are calculated."""
        return self.op("Where", condition, yes, no)

    def abs(self, x: GraphValue) -> GraphValue:
        """Absolute value."""
        return self.op("Abs", x)

    def exp(self, x: GraphValue) -> GraphValue:
        """Exponential."""
        return self.op("Exp", x)

    def floor(self, x: GraphValue) -> GraphValue:
        """The next whole number below."""
        return self.op("Floor", x)

    def round(self, x: GraphValue) -> GraphValue:
        """The nearest whole number, of two the even one."""
        return self.op("Round", x)

    def sin(self, x: GraphValue) -> GraphValue:
        """Sine."""
        return self.op("Sin", x)

    def maximum(self, x: Any, y: Any) -> GraphValue:
        """The greater of two."""
        return self.op("Max", x, y)

    def minimum(self, x: Any, y: Any) -> GraphValue:
        """The lesser of two."""
        return self.op("Min", x, y)

    def _float(self, name: str) -> GraphValue:
        return GraphValue(self._build, self._build.op("Cast", name, to=_FLOAT))

    def _tensor(self, operand: Any) -> str:
        if isinstance(operand, GraphValue):
            return operand.name
        return self._build.constant(operand, np.float32)
