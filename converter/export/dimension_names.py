"""Names of dynamic dimensions: one name for dimensions that were always equal."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from converter.export.proof.expectations import Expectation
from runtimes.keras_models.signature import KerasSignature, dimension_role

Sizes = tuple[int, ...]


def share_dimension_names(
    model: ir.Model, signature: KerasSignature, seen: Sequence[Expectation]
) -> None:
    """Give dynamic dimensions that had equal sizes in every run the same name, in place.

    An output's dimension takes the name of the input dimension that it equals. Two inputs share
    the name of an axis if the model refused different sizes for it. A single run, or runs of only
    one size, are no evidence.
    """
    drawn = [run for run in seen if run.independent is not None]
    seen = drawn or seen
    sizes = _input_sizes(signature, seen)
    shared = _forced_equal(sizes, seen)
    for value in (*model.graph.inputs, *model.graph.outputs):
        if value.shape is not None:
            dims = [dim if isinstance(dim, int) else dim.value for dim in value.shape]
            value.shape = ir.Shape(
                [shared.get(dim, dim) if isinstance(dim, str) else dim for dim in dims]
            )
    # After the model's own outputs come its states, whose shapes are fixed.
    for index, value in enumerate(model.graph.outputs[: len(seen[0].outputs)]):
        if value.shape is None:
            continue
        dims = [dim if isinstance(dim, int) else dim.value for dim in value.shape]
        for axis, dim in enumerate(dims):
            found = tuple(run.outputs[index].shape[axis] for run in seen)
            if not isinstance(dim, int) and _tells(found):
                equal = [name for name, own in sizes.items() if own == found]
                # The user's own samples may happen to be square.
                name = equal[0] if equal and (drawn or len(equal) == 1) else None
                dims[axis] = dim if name is None else shared.get(name, name)
        value.shape = ir.Shape(dims)


def _input_sizes(signature: KerasSignature, seen: Sequence[Expectation]) -> dict[str, Sizes]:
    """Maps each dimension name to its size in each run; for equal names, the first input's."""
    sizes: dict[str, Sizes] = {}
    for spec in signature.inputs:
        for axis, dim in enumerate(spec.shape or ()):
            if isinstance(dim, str):
                sizes.setdefault(dim, tuple(run.feed[spec.name].shape[axis] for run in seen))
    return sizes


def _forced_equal(sizes: dict[str, Sizes], seen: Sequence[Expectation]) -> dict[str, str]:
    """Maps dimensions of different inputs to one name, if the model accepted only equal sizes."""
    if any(run.independent is not False for run in seen):
        return {}
    groups: dict[tuple[str, Sizes], list[str]] = {}
    for name, found in sizes.items():
        if _tells(found):
            groups.setdefault((dimension_role(name), found), []).append(name)
    return {name: role for (role, _), names in groups.items() if len(names) > 1 for name in names}


def _tells(found: Sizes) -> bool:
    return len(set(found)) > 1
