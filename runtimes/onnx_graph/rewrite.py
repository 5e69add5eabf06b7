"""The base class of all passes: an in-place onnx-ir pass that reports what it refused, and why."""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass

import onnx_ir as ir


@dataclass(frozen=True)
class Refusal:
    """A rewrite that looked possible but was not made.

    ``node`` is the name of the node that stays as it was; ``reason`` reads as a sentence.
    """

    pass_name: str
    node: str
    reason: str

    def __str__(self) -> str:
        return f"{self.pass_name}: {self.node}: {self.reason}"


@dataclass
class RewriteResult(ir.passes.PassResult):
    """``PassResult`` with the refusals of the call, in graph order and without duplicates."""

    refusals: tuple[Refusal, ...] = ()


class Refused(Exception):
    """Raised inside a pass where a rewrite must not be made; the message is the reason.

    It never leaves the pass, which turns it into a ``Refusal``.
    """


Refuse = Callable[[ir.Node, str], None]
"""Records that a rewrite at this node was refused, with the reason."""


class RewritePass(ir.passes.InPlacePass):
    """Base class of the passes: ``rewrite`` changes the model and returns whether it did.

    Passes hold only options and no state of a call, so one instance can process many models.
    """

    @abc.abstractmethod
    def rewrite(self, model: ir.Model, refuse: Refuse) -> bool:
        """Change ``model`` in place; return whether anything changed."""

    def call(self, model: ir.Model) -> RewriteResult:
        """Run the pass on ``model`` in place."""
        refusals: dict[Refusal, None] = {}

        def refuse(node: ir.Node, reason: str) -> None:
            refusals[Refusal(type(self).__name__, describe(node), reason)] = None

        modified = self.rewrite(model, refuse)
        return RewriteResult(model, modified, tuple(refusals))

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({options})"


def describe(node: ir.Node) -> str:
    """A readable name for ``node``: its operator and its name, or that of its first output."""
    name = node.name or next((out.name for out in node.outputs if out.name), None)
    return f"{node.op_type} {name}" if name else node.op_type
