"""What a student is to have in common with its teacher: outputs, and logits where those are behind.

Probabilities hide what a teacher knows of the classes that are not the answer: so what goes into a
softmax is compared, not what comes out (Hinton et al., https://arxiv.org/abs/1503.02531).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import onnx_ir as ir

from runtimes.errors import ModelError
from runtimes.onnx_graph.values import is_op, rank

_LAST = -1


@dataclass(frozen=True)
class Target:
    """One pair of values that should be equal, named in each of the two graphs.

    ``is_logits``: a softmax along the last axis makes classes of them.
    """

    output: str
    student: str
    teacher: str
    is_logits: bool


def targets_of(student: ir.Model, teacher: ir.Model) -> tuple[Target, ...]:
    """A target for each output of floats that both have.

    Raises ``ModelError`` where their outputs differ, or none of them is of floats.
    """
    theirs = {str(value.name): value for value in teacher.graph.outputs}
    ours = {str(value.name): value for value in student.graph.outputs}
    if set(theirs) != set(ours):
        raise ModelError(
            f"the teacher's outputs are {_listed(theirs)} and the model's are {_listed(ours)}: "
            "give the model that this one was made from"
        )
    found = [_target(value, theirs[name]) for name, value in ours.items() if _is_float(value)]
    if not found:
        raise ModelError("no output holds floats, so there is nothing to learn from the teacher")
    return tuple(found)


def _target(student: ir.Value, teacher: ir.Value) -> Target:
    name = str(student.name)
    makers = student.producer(), teacher.producer()
    if all(is_op(maker, "Softmax", "LogSoftmax") for maker in makers):
        ours, theirs = (str(maker.inputs[0].name) for maker in makers if maker and maker.inputs[0])
        assert makers[0] is not None
        axis = makers[0].attributes.get_int("axis", _LAST)
        return Target(name, ours, theirs, axis in {_LAST, (rank(student) or 0) - 1})
    return Target(name, name, name, False)


def _is_float(value: ir.Value) -> bool:
    return value.dtype is None or value.dtype.is_floating_point()


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, sorted(names))) or "none"
