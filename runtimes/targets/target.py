"""What a target is: facts about one runtime, and whether a file is inside of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from runtimes.errors import KilnxError, ModelError

if TYPE_CHECKING:
    import onnx_ir as ir

Storage = Literal["dynamic", "rows", "table"]
"""Weights as bytes under float activations: ``dynamic``, com.microsoft's LSTM that rounds its
inputs; ``rows``, DequantizeLinear on a recurrent layer's weights; ``table``, behind a lookup."""

Int8Engine = Literal["onnxruntime", "openvino", "tensorrt"]
"""Engines by whose kernels INT8 is placed."""

_MOST_NAMED = 3


@dataclass(frozen=True)
class Refusal:
    """What a target cannot run, or better does not, and why.

    Attributes:
        reason: Why not.
        where: Attributes that a node has to have for it, any of the values of each.
        above: Attributes that have to be larger than this.
        computed: Inputs, by place, that have to be computed and no constant. With none of these
            three, it is about all nodes of the operator.
        slow: It is right, but slower than in float.
    """

    reason: str
    where: Mapping[str, tuple[Any, ...]] = field(default_factory=dict, hash=False)
    above: Mapping[str, float] = field(default_factory=dict, hash=False)
    computed: tuple[int, ...] = ()
    slow: bool = False

    def applies_to(self, node: ir.Node) -> bool:
        """Whether it is about ``node``, whose operator it is about."""
        return (
            all(_attribute(node, name) in values for name, values in self.where.items())
            and all((_attribute(node, name) or 0) > least for name, least in self.above.items())
            and all(_is_computed(node, place) for place in self.computed)
        )


@dataclass(frozen=True)
class Int8Form:
    """How a target reads INT8: QuantizeLinear and DequantizeLinear around float operators.

    Activations are unsigned bytes, weights signed bytes with a scale a channel, biases INT32; for
    ``tensorrt`` activations are signed bytes around zero, and biases float.

    Attributes:
        engine: By whose kernels is decided where QuantizeLinear and DequantizeLinear stand, and
            what they hold.
        opset: The oldest opset whose QuantizeLinear and DequantizeLinear the target runs.
        storage: Which forms weights under float activations may have.
        keep_float: What stays in float, by operator, with the reason.
    """

    engine: Int8Engine = "onnxruntime"
    opset: int = 13
    storage: frozenset[Storage] = frozenset({"dynamic", "rows", "table"})
    keep_float: Mapping[str, tuple[Refusal, ...]] = field(default_factory=dict, hash=False)

    def float_reason(self, node: ir.Node) -> str | None:
        """Why ``node`` stays in float; None where it need not."""
        kept = self.keep_float.get(node.op_type, ())
        return next((one.reason for one in kept if one.applies_to(node)), None)


@dataclass(frozen=True)
class Target:
    """The runtime that a model ships on.

    Attributes:
        name: What users write.
        title: The runtime's name in messages.
        engine: The provider that judges: whether a model still does its job is asked there.
        clock: The provider that measures latency.
        also: Further providers that have to agree, those of them that are installed.
        opset: The newest opset that it opens.
        domains: The operator domains that it knows; "" is ONNX's own.
        refused: What it cannot run, with the reason: operators, with the domain in front where it
            is not ONNX's own.
        batch: ``any``, or ``one``: it runs one sample at a time.
        int8: How it reads INT8; None: it does not, and ``no_int8`` says why.
        few_bits: Whether it runs weights of fewer bits, which standard operators unpack; else
            ``no_few_bits`` says why not.
        names_outputs: Optional outputs in front of one that is used need a name.
        note: What reports say of every file for this target.
        timed: Whether ``clock`` tells how fast INT8 is where models ship; without, INT8 is kept for
            its size.
    """

    name: str
    title: str
    engine: str
    clock: str
    also: tuple[str, ...] = ()
    opset: int = 18
    domains: frozenset[str] = frozenset({""})
    refused: Mapping[str, tuple[Refusal, ...]] = field(default_factory=dict, hash=False)
    batch: Literal["any", "one"] = "any"
    int8: Int8Form | None = None
    no_int8: str = ""
    few_bits: bool = True
    no_few_bits: str = ""
    names_outputs: bool = False
    note: str = ""
    timed: bool = True

    @property
    def notes(self) -> tuple[str, ...]:
        """``note``, where there is one."""
        return (self.note,) if self.note else ()

    @property
    def is_default(self) -> bool:
        """Whether it is the runtime that everything is decided for unless told otherwise."""
        return self.name == "onnxruntime"

    @property
    def is_onnxruntime(self) -> bool:
        """Whether ONNX Runtime runs it, in one of its packages, so that a release may bind it."""
        return self.name.partition("-")[0] == "onnxruntime" or self.name == "portable"

    @property
    def oldest_int8_opset(self) -> int:
        """The oldest opset that an INT8 file for it has; 0 where it takes no INT8."""
        return 0 if self.int8 is None else self.int8.opset

    def problems(self, model: ir.Model) -> Iterator[str]:
        """Why the target cannot run ``model``, the node named; nothing where it can."""
        from onnx_ir.traversal import RecursiveGraphIterator

        version = model.opset_imports.get("", 1)
        if version > self.opset:
            yield f"the file has opset {version}, and {self.title} opens {self.opset} at most"
        for node in RecursiveGraphIterator(model.graph):
            reason = self.refusal(node)
            if reason is not None:
                yield f"the node {node.name!r} is {_article(_operator(node))}: {reason}"
        if self.batch == "one":
            yield from _batches(model, self.title)

    def refusal(self, node: ir.Node) -> str | None:
        """Why the target cannot run ``node``, as far as its operator tells."""
        if node.domain not in self.domains:
            return f"{self.title} has no operators of the domain {node.domain!r}"
        known = self.refused.get(_operator(node), ())
        return next((one.reason for one in known if one.applies_to(node)), None)

    def check(
        self, model: ir.Model, *, name: str = "the model", error: type[KilnxError] = ModelError
    ) -> None:
        """Raise ``error`` where the target cannot run ``model``, called ``name`` in the message."""
        found = list(self.problems(model))
        if not found:
            return
        more = f"; and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
        raise error(
            f"{name} does not run on the target {self.name!r}: {'; '.join(found[:_MOST_NAMED])}"
            f"{more}. Replace what the message names, move it out of the model, or choose another "
            "--target"
        )

    def to_dict(self) -> dict[str, Any]:
        """What a report tells of it."""
        return {
            "name": self.name,
            "engine": self.engine,
            "clock": self.clock,
            "also": list(self.also),
            "opset": self.opset,
        }


def _operator(node: ir.Node) -> str:
    return f"{node.domain}.{node.op_type}" if node.domain else node.op_type


def _attribute(node: ir.Node, name: str) -> Any:
    attribute = node.attributes.get(name)
    return None if attribute is None else attribute.value


def _is_computed(node: ir.Node, place: int) -> bool:
    value = node.inputs[place] if place < len(node.inputs) else None
    return value is not None and value.const_value is None


def _article(operator: str) -> str:
    vowels = "AEFHILMNORSX" if operator.isupper() else "AEIOU"  # an LSTM is spelt out
    return f"{'an' if operator[0] in vowels else 'a'} {operator}"


def _batches(model: ir.Model, title: str) -> Iterator[str]:
    for value in model.graph.inputs:
        batch = value.shape[0] if value.shape is not None and len(value.shape) else None
        if isinstance(batch, int) and batch != 1:
            yield (
                f"the input {value.name!r} has a batch of {batch}, and {title} runs one sample at "
                "a time"
            )
