"""Which input or output of one model is which of another."""

from __future__ import annotations

from collections.abc import Sequence

from runtimes.base import TensorSpec
from runtimes.errors import ModelError


def pair_specs(
    kind: str,
    wanted: Sequence[TensorSpec],
    found: Sequence[TensorSpec],
    reference: str,
    candidate: str,
) -> dict[str, str]:
    """Names of the reference's tensors to the candidate's, by name or, all together, by place."""
    names = [spec.name for spec in found]
    by_name = {spec.name: spec for spec in found}
    if all(spec.name in by_name for spec in wanted):
        pairs = [(spec, by_name[spec.name]) for spec in wanted]
    elif len(wanted) == len(found):
        pairs = list(zip(wanted, found, strict=True))
    else:
        missing = [spec.name for spec in wanted if spec.name not in names]
        raise ModelError(
            f"{candidate} has no {kind} {missing[0]!r} that {reference} has; "
            f"it has {', '.join(repr(name) for name in names)}"
        )
    if kind == "input":
        if len(found) > len(wanted):
            extra = sorted(set(names) - {spec.name for spec in wanted})
            raise ModelError(f"{candidate} takes the further input {extra[0]!r}")
        for ours, theirs in pairs:
            if ours.dtype != theirs.dtype or not _same_samples(ours, theirs):
                raise ModelError(
                    f"the models take different inputs: {reference} {ours}, {candidate} {theirs}"
                )
    return {ours.name: theirs.name for ours, theirs in pairs}


def _same_samples(one: TensorSpec, other: TensorSpec) -> bool:
    """Whether some array fits both, the batch aside."""
    if one.shape is None or other.shape is None:
        return True
    return len(one.shape) == len(other.shape) and all(
        a == b or not isinstance(a, int) or not isinstance(b, int)
        for a, b in zip(one.shape[1:], other.shape[1:], strict=True)
    )
