"""A model repository for Triton Inference Server.

https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/user_guide/model_configuration.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from converter.packaging.names import model_name, version_number
from converter.packaging.options import DeployOptions, Exported
from converter.packaging.protobuf_text import Enum, Message, map_entries, protobuf_text
from converter.packaging.signature import Signature, copy_model, read_signature, warmup_sample
from runtimes.base import TensorSpec
from runtimes.bundle import Bundle
from runtimes.errors import DataError

# By NumPy's name of the element type; text arrives as arrays of objects.
_TYPES = {
    **{f"{sign}int{bits}": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
    **{f"float{bits}": f"fp{bits}" for bits in (16, 32, 64)},
    "bool": "bool",
    "bfloat16": "bf16",
    "object": "string",
}
_MAX_BATCH = 32
_LABELS = "labels.txt"
# Of tritonserver: its subfolders of a model's folder that hold no version.
_WARMUP = "warmup"


def export_triton(bundle: Bundle, folder: Path, options: DeployOptions) -> Exported:
    """Write ``repository/`` into ``folder``: one model, its configuration, labels and warm-up."""
    name = model_name(options.name or bundle.name)
    version = version_number(bundle.version)
    signature = read_signature(bundle.model)
    model = folder / "repository" / name
    copy_model(bundle.model, model / str(version), signature)
    labels = write_labels(model, bundle.labels, signature)
    warmup = _write_warmup(model, bundle, signature)
    batched = signature.is_batched
    config: Message = {
        "name": name,
        "backend": "onnxruntime",
        **shared_fields(bundle, options, batched=batched, file=bundle.model.name),
        "input": [tensor(spec, batched=batched) for spec in signature.inputs],
        "output": [{**tensor(spec, batched=batched), **labels(spec)} for spec in signature.outputs],
        **how_it_runs(options, batched=batched),
        **({"model_warmup": [warmup]} if warmup else {}),
    }
    write_config(model, config, bundle)
    return Exported(
        next_steps=("tritonserver --model-repository repository",),
        notes=tuple(_notes(signature, has_warmup=warmup is not None)),
    )


def shared_fields(
    bundle: Bundle, options: DeployOptions, *, batched: bool, file: str | None = None
) -> Message:
    """The largest batch, the ``file`` of the model and the version."""
    return {
        "max_batch_size": _max_batch(bundle, options) if batched else 0,
        **({"default_model_filename": file} if file else {}),
        "version_policy": {"specific": {"versions": [version_number(bundle.version)]}},
    }


def how_it_runs(options: DeployOptions, *, batched: bool) -> Message:
    """Instances and threads of a model that ONNX Runtime runs, and whether Triton batches."""
    return {
        "instance_group": [{"count": options.instances, "kind": Enum("KIND_CPU")}],
        # A batch is what waits when an instance is free: nothing waits for a batch to fill.
        **({"dynamic_batching": {}} if batched else {}),
        # What the model was measured with: more threads than one fight the other instances.
        "parameters": map_entries({"intra_op_thread_count": {"string_value": "1"}}),
    }


def write_config(model: Path, config: Message, bundle: Bundle) -> None:
    """Write ``config.pbtxt`` into the folder of a model."""
    comment = f"{bundle.name} {bundle.version}, written by kilnx from bundle {bundle.digest}"
    (model / "config.pbtxt").write_text(protobuf_text(config, comment), encoding="utf-8")


def _max_batch(bundle: Bundle, options: DeployOptions) -> int:
    if options.max_batch is not None:
        return options.max_batch
    return int(bundle.limits.get("max_batch_size") or _MAX_BATCH)


def triton_type(spec: TensorSpec) -> str:
    """The element type as a configuration names it, such as ``TYPE_FP32``.

    Raises:
        DataError: Triton has no such type.
    """
    found = _TYPES.get(spec.dtype.name)
    if found is None:
        raise DataError(
            f"Triton has no element type {spec.dtype.name}, which {spec.name!r} has; "
            "serve the bundle with kilnx serve"
        )
    return f"TYPE_{found.upper()}"


def tensor(spec: TensorSpec, *, batched: bool) -> dict[str, Any]:
    """An input or an output as a configuration states it."""
    shape = _without_batch(spec, batched=batched)
    dims = [dim if isinstance(dim, int) else -1 for dim in shape]
    told = {"name": spec.name, "data_type": Enum(triton_type(spec))}
    # Triton's tensors have one dimension at least: what has none is reshaped.
    return {**told, "dims": dims} if dims else {**told, "dims": [1], "reshape": {"shape": []}}


def _without_batch(spec: TensorSpec, *, batched: bool) -> Sequence[int | str | None]:
    shape = spec.shape or ()
    return shape[1:] if batched else shape


def write_labels(model: Path, labels: Sequence[str], signature: Signature) -> Any:
    """Write the labels; gives the function that tells which outputs have them."""

    def has_labels(spec: TensorSpec) -> bool:
        return bool(labels and spec.shape and spec.shape[-1] == len(labels))

    if any("\n" in label or "\r" in label for label in labels):
        raise DataError("a label with a line end cannot stand in Triton's file of labels")
    if any(map(has_labels, signature.outputs)):
        text = "".join(f"{label}\n" for label in labels)
        (model / _LABELS).write_text(text, encoding="utf-8")
    return lambda spec: {"label_filename": _LABELS} if has_labels(spec) else {}


def _write_warmup(model: Path, bundle: Bundle, signature: Signature) -> Message | None:
    """Write the warm-up's arrays and say where; None where no size of a free axis is known."""
    sample = warmup_sample(bundle.warmup, signature.inputs)
    if sample is None and not _all_sizes_known(signature):
        return None
    inputs = dict(_warmup_inputs(model, sample, signature))
    batch = {"batch_size": 1} if signature.is_batched else {}
    return {"name": "sample", **batch, "inputs": map_entries(inputs)}


def _warmup_inputs(
    model: Path, sample: Mapping[str, np.ndarray] | None, signature: Signature
) -> Iterator[tuple[str, Message]]:
    for place, spec in enumerate(signature.inputs):
        shape = _without_batch(spec, batched=signature.is_batched)
        data: Message = {"zero_data": True}
        if sample is not None:
            array = sample[spec.name]
            shape = array.shape[1:] if signature.is_batched else array.shape
            file = model / _WARMUP / f"input{place}.bin"
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(_raw(array))
            data = {"input_data_file": file.name}
        dims = [int(str(size)) for size in shape] or [1]
        yield spec.name, {"data_type": Enum(triton_type(spec)), "dims": dims, **data}


def _all_sizes_known(signature: Signature) -> bool:
    batched = signature.is_batched
    return all(
        isinstance(dim, int)
        for spec in signature.inputs
        for dim in _without_batch(spec, batched=batched)
    )


def _raw(array: np.ndarray) -> bytes:
    """The bytes of an array as Triton reads them; text by its length and UTF-8."""
    if array.dtype.kind not in "OUS":
        return np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes()
    texts = (one.encode() if isinstance(one, str) else bytes(one) for one in array.reshape(-1))
    return b"".join(len(text).to_bytes(4, "little") + text for text in texts)


def _notes(signature: Signature, *, has_warmup: bool) -> Iterator[str]:
    if not signature.is_batched:
        yield "the model has no batch axis that every input and output shares: no batching"
    if not has_warmup:
        yield "no warm-up: the bundle has no samples, and the model takes several sizes"
    yield from common_notes(signature)


def common_notes(signature: Signature) -> Iterator[str]:
    """What is to be known of every model there."""
    opsets = ", ".join(f"{name or 'ai.onnx'} {n}" for name, n in signature.opsets.items())
    yield f"Triton's ONNX Runtime has to know the operator sets {opsets}"
    yield "Triton neither watches drift nor goes back to fp32; kilnx serve does"
