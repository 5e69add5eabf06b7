"""What Keras hands to a model as the inputs of a graph, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runtimes.base import TensorSpec
from runtimes.errors import DataError


def graph_feed(specs: Sequence[TensorSpec], inputs: Any) -> dict[str, Any]:
    """Tensors by input name, of the dtypes that the graph takes.

    ``inputs``: one tensor, a list in the order of ``specs``, or a dict by name. Raises
    ``DataError`` where they are not what the graph takes.
    """
    import tensorflow as tf

    feed = {}
    for spec, value in zip(specs, _in_order(specs, inputs), strict=True):
        tensor = tf.convert_to_tensor(value)
        _require_shape(spec, tensor)
        feed[spec.name] = tf.cast(tf.ensure_shape(tensor, _sizes(spec)), spec.dtype)
    return feed


def _in_order(specs: Sequence[TensorSpec], inputs: Any) -> list[Any]:
    names = [spec.name for spec in specs]
    if isinstance(inputs, Mapping):
        missing = [name for name in names if name not in inputs]
        if missing:
            raise DataError(
                f"the input {missing[0]!r} is missing: the model takes {_listed(specs)}, and got "
                f"{', '.join(map(repr, inputs)) or 'nothing'}"
            )
        return [inputs[name] for name in names]
    given = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
    if len(given) != len(names):
        raise DataError(
            f"the model takes {len(names)} inputs ({_listed(specs)}), and got {len(given)}"
        )
    return given


def _require_shape(spec: TensorSpec, tensor: Any) -> None:
    if spec.shape is None or tensor.shape.rank is None:
        return
    have = list(tensor.shape)
    known = len(have) == len(spec.shape) and all(
        size is None or not isinstance(want, int) or want == size
        for want, size in zip(spec.shape, have, strict=True)
    )
    if not known:
        sizes = ", ".join("?" if size is None else str(size) for size in have)
        raise DataError(
            f"the input {spec.name!r} has the shape [{sizes}], and the model takes {spec}"
        )


def _sizes(spec: TensorSpec) -> list[int | None] | None:
    """What is checked again when the model runs: sizes may not be known before."""
    if spec.shape is None:
        return None
    return [size if isinstance(size, int) else None for size in spec.shape]


def _listed(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(str(spec) for spec in specs)
