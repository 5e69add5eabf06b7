"""Which execution provider runs each node, as reported by ONNX Runtime itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runtimes.errors import RuntimeUnavailable

RECORD = {"session.record_ep_graph_assignment_info": "1"}
"""Session configuration that makes ONNX Runtime record which provider each node runs on."""

_CPU = "CPUExecutionProvider"

_NAMED = 5


@dataclass(frozen=True)
class NodePlacement:
    """One node of the optimized graph and the provider that runs it (ONNX Runtime's name)."""

    node: str
    op_type: str
    provider: str


@dataclass(frozen=True)
class LayerPrecision:
    """One layer that an engine made of a model, and the element type that it computes in.

    ``layer`` is the name of the node that it comes from, ``op_type`` what the engine calls the
    operator, and ``precision`` a short name such as ``f32``, ``bf16``, ``i8`` or ``u8``.
    """

    layer: str
    op_type: str
    precision: str


@dataclass(frozen=True)
class Placement:
    """Where a model's nodes run: how many on each provider, and which are on the wrong one.

    ``asked`` is the name that the user gave. ``counts`` is None if the counts are not known, as
    with ONNX Runtime before 1.24 and the CPU as its only provider. ``layers``: what an engine that
    tells says of each layer that computes something.
    """

    asked: str
    counts: Mapping[str, int] | None
    elsewhere: tuple[NodePlacement, ...]
    layers: tuple[LayerPrecision, ...] = ()

    @property
    def precisions(self) -> Mapping[str, int]:
        """How many layers compute in each precision, the commonest first."""
        return dict(Counter(layer.precision for layer in self.layers).most_common())

    def __str__(self) -> str:
        if self.counts is None:
            return f"{self.asked}: all nodes on {_CPU}"
        parts = ", ".join(f"{count} nodes on {name}" for name, count in self.counts.items())
        return f"{self.asked}: {parts or 'no nodes'}{self._precisions()}"

    def _precisions(self) -> str:
        counts = self.precisions
        return f" ({listed_precisions(counts)})" if counts else ""


def listed_precisions(counts: Mapping[str, int]) -> str:
    """Counts of layers in words, such as ``12 layers in f32, 1 in u8``."""
    first, *rest = (f"{count} {{}}in {name}" for name, count in counts.items())
    return ", ".join([first.format("layers "), *(one.format("") for one in rest)])


def read_placement(session: Any) -> list[NodePlacement] | None:
    """Every node's provider, from a session that was opened with ``RECORD``.

    None if only the CPU can run a node and this ONNX Runtime does not list the nodes. Raises
    ``RuntimeUnavailable`` if it does not report which of several providers runs a node.
    """
    read = getattr(session, "get_provider_graph_assignment_info", None)
    if read is None and session.get_providers() == [_CPU]:
        return None
    if read is None:
        raise RuntimeUnavailable(
            "this ONNX Runtime does not report on which provider its nodes run, so the requested "
            "provider cannot be verified: pip install --upgrade 'onnxruntime>=1.24' "
            "(onnxruntime-gpu for CUDA)"
        )
    return [
        NodePlacement(str(node.name), str(node.op_type), str(group.ep_name))
        for group in read()
        for node in group.get_nodes()
    ]


def judge_placement(
    nodes: Sequence[NodePlacement] | None,
    asked: str,
    provider: str,
    *,
    allow_fallback: bool,
    model: str,
) -> Placement:
    """Raise ``RuntimeUnavailable`` if a node is not on ``provider`` and that is not allowed."""
    if nodes is None:
        return Placement(asked, None, ())
    elsewhere = tuple(node for node in nodes if node.provider != provider)
    if elsewhere and not allow_fallback:
        named = ", ".join(
            f"{node.node!r} ({node.op_type}) on {node.provider}" for node in elsewhere[:_NAMED]
        )
        more = f" and {len(elsewhere) - _NAMED} more" if len(elsewhere) > _NAMED else ""
        raise RuntimeUnavailable(
            f"{model}: {len(elsewhere)} of {len(nodes)} nodes would not run on {asked!r}: {named}"
            f"{more}; allow it with --allow-fallback (allow_fallback=True), or change these nodes"
        )
    return Placement(asked, dict(Counter(node.provider for node in nodes)), elsewhere)
