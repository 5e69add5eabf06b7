"""Which features a model's tensors get, and the edges of their bins, from a survey of samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from runtimes.base import Array
from runtimes.monitor.edges import (
    DISAGREEMENT_EDGES,
    ENDS_EDGES,
    NOISE_EDGES,
    frequent,
    quantile_edges,
)
from runtimes.monitor.forms import (
    GRID,
    MOST_COLUMNS,
    MOST_STEPS_COLUMNS,
    image_channels,
    measure,
)
from runtimes.monitor.layout import Block, Form, Group
from runtimes.monitor.seen import Seen
from runtimes.monitor.shadow import comparable

_FEW = 64  # integers of no more values are categories
_MOST_VALUES = 200_000  # of a feature that quantiles are taken of
_IMAGE_RANK = 4


def survey(
    seen: Sequence[Seen],
    indices: frozenset[str],
    class_outputs: frozenset[str],
    names: Sequence[str],
) -> tuple[Block, ...]:
    """The layout for what was seen.

    Args:
        seen: Samples of the reference, in batches.
        indices: Inputs whose values are indices of a table.
        class_outputs: Outputs along whose last axis classes compete.
        names: The activations whose codes were counted.
    """
    blocks: list[Block] = []
    for name in seen[0].inputs:
        arrays = [one.inputs[name] for one in seen]
        blocks += _of_tensor("inputs", name, arrays, is_index=name in indices)
    rows = len(next(iter(seen[0].inputs.values())))
    outputs: Mapping[str, Array] = {
        name: array
        for name, array in (seen[0].outputs or {}).items()
        if array.shape[:1] == (rows,)  # others have no samples to look at
    }
    for name in outputs:
        arrays = [one.outputs[name] for one in seen if one.outputs is not None]
        if name in class_outputs:
            blocks += _of_classes(name, arrays)
        else:
            blocks += _of_tensor("outputs", name, arrays, is_index=False)
    if names and seen[0].ends is not None:
        edges = (ENDS_EDGES,) * len(names)
        blocks.append(Block("saturation", "", "ends", tuple(names), edges))
    for name, found in outputs.items():
        expected = (seen[0].fp32 or {}).get(name)
        if expected is not None and comparable(expected, found):
            blocks.append(_of_shadow(name, is_class=name in class_outputs))
    return tuple(block for block in blocks if block.categories or any(block.edges))


def _of_shadow(name: str, *, is_class: bool) -> Block:
    """Where classes compete, another answer is what counts; elsewhere noise is."""
    if is_class:
        other = f"{name}: another answer than fp32"
        return Block("shadow", name, "disagreement", (other,), (DISAGREEMENT_EDGES,))
    return Block("shadow", name, "noise", (f"{name}: noise over signal, dB",), (NOISE_EDGES,))


def _of_classes(name: str, arrays: Sequence[Array]) -> list[Block]:
    answers = Block(
        "outputs",
        name,
        "classes",
        (f"{name}: class",),
        categories=frequent([measure("classes", one, 1) for one in arrays]),
    )
    return [answers, _numeric("outputs", name, "score", (f"{name}: largest score",), arrays)]


def _of_tensor(group: Group, name: str, arrays: Sequence[Array], *, is_index: bool) -> list[Block]:
    first = arrays[0]
    if first.dtype.kind not in "fiub" or (
        first.ndim < _IMAGE_RANK and _are_tokens(arrays, is_index)
    ):
        categories = frequent(list(arrays))
        return [Block(group, name, "tokens", (f"{name}: values",), categories=categories)]
    if first.ndim >= _IMAGE_RANK:
        return _of_images(group, name, arrays)
    if first.ndim == 3:
        return _of_sequences(group, name, arrays)
    columns = min(MOST_COLUMNS, int(np.prod(first.shape[1:], dtype=np.int64)))
    return [_numeric(group, name, "columns", _numbered(name, columns, first), arrays)]


def _are_tokens(arrays: Sequence[Array], is_index: bool) -> bool:
    if arrays[0].dtype.kind == "f":
        return False
    return is_index or np.unique(np.concatenate([one.reshape(-1) for one in arrays])).size <= _FEW


def _numbered(name: str, columns: int, first: Array) -> tuple[str, ...]:
    pooled = first.ndim > 1 and columns < int(np.prod(first.shape[1:], dtype=np.int64))
    word = "columns around" if pooled else "column"
    size = int(np.prod(first.shape[1:], dtype=np.int64))
    if size == 1:
        return (name,)
    return tuple(f"{name}: {word} {place * size // columns}" for place in range(columns))


def _of_images(group: Group, name: str, arrays: Sequence[Array]) -> list[Block]:
    channels = image_channels(arrays[0].shape)
    each = [f" of channel {channel}" if channels > 1 else "" for channel in range(channels)]
    statistics = [
        f"{name}: {what}{of}"
        for what in ("brightness", "contrast", "gradient energy")
        for of in each
    ]
    statistics += [
        f"{name}: brightness of cell {row},{column}"
        for row in range(GRID)
        for column in range(GRID)
    ]
    return [
        _numeric(group, name, "pixels", tuple(f"{name}: pixels{of}" for of in each), arrays),
        _numeric(group, name, "image", tuple(statistics), arrays),
    ]


def _of_sequences(group: Group, name: str, arrays: Sequence[Array]) -> list[Block]:
    columns = min(MOST_STEPS_COLUMNS, arrays[0].shape[-1])
    each = [f" of column {column}" if columns > 1 else "" for column in range(columns)]
    return [
        _numeric(group, name, "steps", tuple(f"{name}: values{of}" for of in each), arrays),
        _numeric(group, name, "changes", tuple(f"{name}: changes{of}" for of in each), arrays),
    ]


def _numeric(
    group: Group, name: str, form: Form, names: tuple[str, ...], arrays: Sequence[Array]
) -> Block:
    """A block whose edges are quantiles of what was seen."""
    found = [measure(form, one, len(names)) for one in arrays]
    edges = []
    for feature in range(len(names)):
        values = np.concatenate([one[:, feature].reshape(-1) for one in found])
        edges.append(quantile_edges(values[:: max(1, len(values) // _MOST_VALUES)]))
    return Block(group, name, form, names, tuple(edges))
