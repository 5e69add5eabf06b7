"""Residual branches that may go as a whole.

A branch is what lies behind one operand of an Add and leads nowhere else. When all channels inside
it have gone, what it adds is a constant, so the Add goes too and its result is the other operand.
The layer that makes that operand is then fitted to what the sum was, so it learns to do without.
(Removing layers by what their removal costs: https://arxiv.org/abs/1712.01887 calls it depth.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from converter.pruning.groups.selection import Dependencies, Group, Selection
from converter.pruning.operators.channels import IntArray
from runtimes.onnx_graph.values import drop_if_unused, is_constant, is_op, only_user


@dataclass(frozen=True)
class Branch:
    """``add``: name of the Add; ``nodes``: names of those behind its operand ``input``.

    ``groups``: names of the groups whose channels lie inside, by their first maker, and ``units``
    all of their units. Branches inside of this one have some of them: ``own`` are the units of
    the others.
    """

    add: str
    input: int
    nodes: frozenset[str]
    groups: tuple[str, ...]
    units: IntArray
    own: IntArray

    @property
    def name(self) -> str:
        """The group of its own that stands for the branch: no two branches share it."""
        return self.groups[0]

    def is_gone(self, kept: Selection) -> bool:
        """Whether nothing is left inside."""
        return not kept.units[self.own].any()


def find_branches(model: ir.Model, dependencies: Dependencies) -> tuple[Branch, ...]:
    """The branches of ``model`` that may go, in graph order; of one Add at most one.

    Shapes have to be known (``converter.passes.optimize``); ``dependencies`` are the model's.
    """
    branches: list[Branch] = []
    for node in model.graph:
        found = [
            branch
            for index in (0, 1)
            if is_op(node, "Add")
            and (branch := _behind(node, index, dependencies, branches)) is not None
        ]
        if found:  # the longer one is the branch, the other the shortcut
            branches.append(max(found, key=lambda one: len(one.nodes)))
    return tuple(branches)


def _behind(
    add: ir.Node, index: int, dependencies: Dependencies, before: Sequence[Branch]
) -> Branch | None:
    value, skip, total = add.inputs[index], add.inputs[1 - index], add.outputs[0]
    if value is None or skip is None or value is skip or skip.producer() is None:
        return None
    if total.is_graph_output() or skip.is_graph_output() or is_constant(skip):
        return None
    if skip.shape is None or skip.shape != total.shape:
        return None
    nodes = _leading_only_to(add, value, skip)
    users = {use.node for use in skip.uses()}
    if not users <= {add, *nodes}:
        return None
    names = frozenset(str(node.name) for node in nodes)
    groups = _inside(names, dependencies)
    others = {group for branch in before if branch.nodes <= names for group in branch.groups}
    own = [group for group in groups if group.makers[0] not in others]
    if not own:
        return None
    groups = [*own, *(group for group in groups if group.makers[0] in others)]
    return Branch(
        str(add.name),
        index,
        names,
        tuple(group.makers[0] for group in groups),
        np.concatenate([group.units for group in groups]),
        np.concatenate([group.units for group in own]),
    )


def _leading_only_to(add: ir.Node, value: ir.Value, skip: ir.Value) -> set[ir.Node]:
    """The nodes behind ``value``, but not behind ``skip``, that reach nothing but ``add``."""
    found: set[ir.Node] = set()
    waiting = [value.producer()]
    while waiting:
        node = waiting.pop()
        if node is None or node in found or node is skip.producer():
            continue
        outputs = [output for output in node.outputs if output.uses() or output.is_graph_output()]
        users = {use.node for output in outputs for use in output.uses()}
        if users <= {add, *found} and not any(output.is_graph_output() for output in outputs):
            found.add(node)
            waiting += [one.producer() for one in node.inputs if one is not None]
    return found


def _inside(nodes: frozenset[str], dependencies: Dependencies) -> list[Group]:
    """Groups that nothing outside of ``nodes`` touches and that may lose all units."""
    unit_of = dependencies.partition.unit_of
    outside = np.zeros(dependencies.partition.units, np.bool_)
    for use in dependencies.uses:
        if use.node not in nodes:
            outside[unit_of[use.channels]] = True
    return [
        group
        for group in dependencies.groups
        if group.is_open
        and not group.closed_units
        and nodes.issuperset(group.makers)
        and not outside[group.units].any()
    ]


def drop_branch(model: ir.Model, branch: Branch) -> None:
    """Take a branch and its Add out of ``model``, in place.

    The operand that is left takes the name of the sum: it is what it should be from now on.
    Of two ReLUs one behind the other, before the Add and behind it, the first goes.
    """
    graph = model.graph
    nodes = {str(node.name): node for node in graph}
    add = nodes[branch.add]
    skip, total = add.inputs[1 - branch.input], add.outputs[0]
    assert skip is not None
    name = total.name
    rectified = only_user(total)
    total.replace_all_uses_with(skip)
    gone = [add, *(node for node in reversed(list(graph)) if str(node.name) in branch.nodes)]
    for node in gone:
        read = list(node.inputs)
        graph.remove(node, safe=True)
        drop_if_unused(read)
    first = skip.producer()
    assert first is not None
    before = first.inputs[0] if is_op(first, "Relu") else None
    if is_op(rectified, "Relu") and before is not None and only_user(before) is first:
        assert rectified is not None
        rectified.replace_input_with(0, before)
        graph.remove(first, safe=True)
        skip = before
    skip.name = name
