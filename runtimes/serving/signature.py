"""What a model takes and gives, and whether a request fits it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from runtimes.base import Array, TensorSpec
from runtimes.errors import ModelError
from runtimes.serving.protocol.datatypes import datatype_of
from runtimes.serving.protocol.documents import TensorMetadata
from runtimes.serving.protocol.errors import ProtocolError
from runtimes.serving.protocol.messages import InferRequest, Tensor

Shape = tuple[int | str | None, ...] | None


@dataclass(frozen=True, slots=True)
class Input:
    """One input, in the protocol's words."""

    datatype: str
    shape: Shape
    required: bool
    sizes: tuple[int | None, ...]

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether an array of ``shape`` may be fed."""
        if self.shape is None:
            return True
        if len(shape) != len(self.sizes):
            return False
        for want, have in zip(self.sizes, shape, strict=True):
            if want is not None and want != have:
                return False
        return True


class Signature:
    """The inputs and outputs of a model.

    ``batched``: the first axis of all is the samples; requests then say the same for all inputs.
    """

    def __init__(
        self,
        name: str,
        inputs: Sequence[TensorSpec],
        optional: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        *,
        batched: bool,
    ) -> None:
        self._name, self._batched = name, batched
        self._inputs = {
            **{spec.name: _input(spec, required=True) for spec in inputs},
            **{spec.name: _input(spec, required=False) for spec in optional},
        }
        self._required = {spec.name for spec in inputs}
        self.outputs = [spec.name for spec in outputs]
        self._datatypes = {spec.name: _datatype(spec) for spec in outputs}
        self.inputs_metadata = tuple(_metadata(spec) for spec in (*inputs, *optional))
        self.outputs_metadata = tuple(_metadata(spec) for spec in outputs)

    def feed_of(self, request: InferRequest) -> tuple[dict[str, Array], int]:
        """The arrays of a request, and how many samples they are; raises ``ProtocolError``."""
        feed: dict[str, Array] = {}
        known = self._inputs
        for tensor in request.inputs:
            name, shape = tensor.name, tensor.shape
            wanted = known.get(name)
            if wanted is None or tensor.datatype != wanted.datatype or not wanted.fits(shape):
                raise self._refused(tensor, wanted)
            feed[name] = _text(tensor) if wanted.datatype == "BYTES" else tensor.data
        if len(feed) != len(request.inputs) or not self._required <= feed.keys():
            raise self._incomplete(feed)
        return feed, self._rows(request.inputs)

    def names_of(self, request: InferRequest) -> Sequence[str]:
        """The outputs that a request wants; raises ``ProtocolError`` for one that is not there."""
        if not request.outputs:
            return self.outputs
        names = [output.name for output in request.outputs]
        for name in names:
            if name not in self._datatypes:
                raise ProtocolError(
                    400, f"{self._name} has no output {name!r}; it has {_listed(self.outputs)}"
                )
        return names

    def tensors(self, names: Sequence[str], arrays: Sequence[Array]) -> tuple[Tensor, ...]:
        """Outputs as the protocol writes them."""
        found = []
        for name, array in zip(names, arrays, strict=True):
            data = _bytes(array) if array.dtype.hasobject else array
            found.append(Tensor(name, self._datatypes[name], array.shape, data))
        return tuple(found)

    def _rows(self, inputs: Sequence[Tensor]) -> int:
        if not inputs or not inputs[0].shape:
            return 1
        rows = inputs[0].shape[0]
        if self._batched:
            for tensor in inputs:
                if tensor.shape[0] != rows:
                    raise ProtocolError(
                        400,
                        f"{inputs[0].name!r} has {rows} samples and {tensor.name!r} has "
                        f"{tensor.shape[0]}; the first axis of all inputs is the samples",
                    )
        return rows if self._batched else 1

    def _refused(self, tensor: Tensor, wanted: Input | None) -> ProtocolError:
        if wanted is None:
            return ProtocolError(
                400,
                f"{self._name} has no input {tensor.name[:200]!r}; it has {_listed(self._inputs)}",
            )
        return ProtocolError(
            400,
            f"{self._name} takes {tensor.name!r} as {wanted.datatype}{_dims(wanted.shape)}, not "
            f"{tensor.datatype}{_dims(tensor.shape)}",
        )

    def _incomplete(self, feed: Mapping[str, Array]) -> ProtocolError:
        missing = sorted(self._required - feed.keys())
        if missing:
            return ProtocolError(400, f"the request lacks the inputs {_listed(missing)}")
        return ProtocolError(400, "an input is named twice")


def _input(spec: TensorSpec, *, required: bool) -> Input:
    sizes = tuple(dim if isinstance(dim, int) else None for dim in spec.shape or ())
    return Input(_datatype(spec), spec.shape, required, sizes)


def _datatype(spec: TensorSpec) -> str:
    try:
        return datatype_of(spec.dtype)
    except ProtocolError as error:
        raise ModelError(
            f"{spec.name!r} is {spec.dtype.name}, for which the protocol has no name; the model "
            "cannot be served"
        ) from error


def _metadata(spec: TensorSpec) -> TensorMetadata:
    shape = (-1,) if spec.shape is None else spec.shape
    sizes = tuple(dim if isinstance(dim, int) else -1 for dim in shape)
    return TensorMetadata(spec.name, _datatype(spec), sizes)


def _text(tensor: Tensor) -> Array:
    """The elements of a BYTES tensor as text, which is what models take."""
    try:
        found = [one.decode() if isinstance(one, bytes) else str(one) for one in tensor.data.flat]
    except UnicodeDecodeError as error:
        raise ProtocolError(
            400, f"{tensor.name!r} has an element that is not UTF-8, which text has to be"
        ) from error
    text = np.empty(len(found), dtype=object)
    text[:] = found
    return text.reshape(tensor.shape)


def _bytes(array: Array) -> Array:
    found = np.empty(array.size, dtype=object)
    found[:] = [one if isinstance(one, bytes) else str(one).encode() for one in array.flat]
    return found.reshape(array.shape)


def _dims(shape: Sequence[int | str | None] | None) -> str:
    return "" if shape is None else "[" + ",".join(str(dim or "?") for dim in shape) + "]"


def _listed(names: object) -> str:
    listed = ", ".join(repr(name) for name in names)  # type: ignore[attr-defined]
    return listed or "none"
