"""The proof that an exported file behaves like its Keras model, before it gets its name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from converter.export.channels_first import Layout, is_image, to_channels_first
from converter.export.proof.expectations import Expectation, run_in_graph, run_keras
from converter.export.proof.session import ProofSession, proof_session
from runtimes.base import Array, Feed
from runtimes.engines.ort import OrtRuntime
from runtimes.errors import ConversionError, KilnxError, UnsupportedOperator, first_line
from runtimes.keras_models.signature import KerasSignature
from runtimes.parity.rounding_noise import measure_noise

# Largest error allowed, relative to the largest magnitude of the output. Frameworks sum in
# another order, so float32 results differ by some ulps per layer; a wrong layer differs by 1e-2.
_RELATIVE = {"float64": 1e-9, "float32": 1e-4, "float16": 2e-2, "bfloat16": 1e-1}

# How much of the model's own rounding noise an error may be, where that is the larger bound.
_NOISE_MULTIPLE = 16.0
_ABSOLUTE_FLOOR = 1e-7

# How ONNX Runtime says that an operator exists, but not for this element type.
_NO_KERNEL = "Could not find an implementation"

# ONNX Runtime multiplies by weights of 4 and 8 bits with the other side rounded to int8, but for
# this: then it computes what the file says, in float32.
FLOAT32_MATMUL = {"session.qdq_matmulnbits_accuracy_level": "1"}


@dataclass(frozen=True)
class OutputProof:
    """One output on one batch: the largest error and what was allowed."""

    output: str
    batch: int
    max_abs_error: float
    allowed: float


def prove(
    path: str | os.PathLike[str],
    model: Any,
    signature: KerasSignature,
    output_names: Sequence[str],
    expected: Sequence[Expectation],
    *,
    graph: ir.Model | None = None,
    layout: Layout = "nhwc",
) -> tuple[OutputProof, ...]:
    """Check the ONNX file at ``path`` and hold it against what Keras answered.

    ``graph``: what it was written from; a large file is proven on the weights in there, once
    they were compared with the file's. Raises ``ConversionError`` when the checker, the runtime
    or the comparison says no.
    """
    proofs: list[OutputProof] = []
    with proof_session(Path(path), graph) as session, _open(session, model) as runtime:
        for run in expected:
            actual = runtime.run(feed_of(run, layout))
            outputs, call = run.outputs, run_keras
            if not all(map(_agree, outputs, (actual[name] for name in output_names))):
                call = run_in_graph
                outputs = call(model, signature, run.feed)
            for index, name in enumerate(output_names):
                reference = outputs[index]
                _same_form(name, reference, actual[name])
                found = _max_error(reference, actual[name])
                allowed = _allowed(reference)
                if found > allowed:
                    moved = call(model, signature, _moved(run.feed))[index]
                    noise = _max_difference(reference, moved)
                    allowed = max(allowed, _NOISE_MULTIPLE * noise)
                if found > allowed:
                    noise = _own_noise(runtime, feed_of(run, layout), name)
                    allowed = max(allowed, _NOISE_MULTIPLE * noise)
                if found > allowed:
                    raise ConversionError(
                        f"the exported model is not the Keras model {model.name!r}: output "
                        f"{name!r} differs by {found:.3g} at batch {run.batch}, and "
                        f"{allowed:.3g} is what rounding explains. This is a defect of the "
                        "export; please report it with the model"
                    )
                proofs.append(OutputProof(name, run.batch, found, allowed))
    return tuple(proofs)


def _open(session: ProofSession, model: Any) -> OrtRuntime:
    _check_file(session.path)
    try:
        return OrtRuntime(
            session.path,
            config={**FLOAT32_MATMUL, **session.config},
            optimization=session.optimization,
            initializers=session.initializers,
        )
    except KilnxError as error:
        if _NO_KERNEL in str(error):
            raise UnsupportedOperator(
                f"the model {model.name!r} is valid ONNX, but ONNX Runtime's CPU provider has no "
                f"kernel for one of its element types: {error}. Convert it with the dtype policy "
                "float32: keras.config.set_dtype_policy('float32') before it is built"
            ) from error
        raise ConversionError(
            f"ONNX Runtime cannot load the model that was exported from {model.name!r}: {error}. "
            "This is a defect of the export; please report it with the model"
        ) from error


def _check_file(path: Path) -> None:
    import onnx.checker

    try:
        onnx.checker.check_model(str(path), full_check=False)
    except onnx.checker.ValidationError as error:
        raise ConversionError(
            f"the exported graph is not valid ONNX: {first_line(error)}. "
            "This is a defect of the export; please report it with the model"
        ) from error


def feed_of(run: Expectation, layout: Layout) -> Feed:
    """What Keras was fed with, as the file of this layout takes it."""
    return _transposed(run.feed) if layout == "nchw" else run.feed


def _transposed(feed: Feed) -> dict[str, Array]:
    """The feed with its images channels first, as ``channels_first`` has transposed the inputs."""
    return {
        name: np.ascontiguousarray(values.transpose(to_channels_first(values.ndim)))
        if is_image(values.ndim)
        else values
        for name, values in feed.items()
    }


def _same_form(name: str, reference: Array, actual: Array) -> None:
    if reference.shape != actual.shape:
        raise ConversionError(
            f"output {name!r} of the exported model has the shape {actual.shape}, and Keras "
            f"gives {reference.shape}. This is a defect of the export; please report it"
        )
    if reference.dtype != actual.dtype and reference.dtype.kind not in "OSU":
        raise ConversionError(
            f"output {name!r} of the exported model is {actual.dtype}, and Keras gives "
            f"{reference.dtype}. This is a defect of the export; please report it"
        )


def _max_error(reference: Array, actual: Array) -> float:
    """Largest absolute difference; infinite where NaN, infinity or a discrete value differs."""
    if reference.dtype.kind in "OSU":
        same = [_text(a) == _text(b) for a, b in zip(reference.flat, actual.flat, strict=True)]
        return 0.0 if all(same) else float("inf")
    wide, other = reference.astype(np.float64), actual.astype(np.float64)
    finite = np.isfinite(wide)
    if not np.array_equal(finite, np.isfinite(other)) or not np.array_equal(
        wide[~finite], other[~finite], equal_nan=True
    ):
        return float("inf")
    return float(np.max(np.abs(wide[finite] - other[finite]), initial=0.0))


def _allowed(reference: Array) -> float:
    if reference.dtype.kind not in "fV" or reference.size == 0:  # V: bfloat16 and its like
        return 0.0
    wide = np.abs(reference.astype(np.float64))
    scale = float(np.max(wide, where=np.isfinite(wide), initial=0.0))
    return max(_RELATIVE.get(reference.dtype.name, 1e-4) * scale, _ABSOLUTE_FLOOR)


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _agree(reference: Array, actual: Array) -> bool:
    same_form = reference.shape == actual.shape and reference.dtype == actual.dtype
    return same_form and _max_error(reference, actual) <= _allowed(reference)


def _moved(feed: dict[str, Array]) -> dict[str, Array]:
    """The feed with every float moved by two ulps.

    A network that amplifies rounding does so in every runtime: how far its outputs move bounds
    what any other runtime can be asked for.
    """
    return {
        name: (values * values.dtype.type(1 + 2 * np.finfo(values.dtype).eps)).astype(values.dtype)
        if values.dtype.kind == "f"
        else values
        for name, values in feed.items()
    }


def _max_difference(reference: Array, other: Array) -> float:
    difference = other.astype(np.float64) - reference.astype(np.float64)
    return float(np.nanmax(np.abs(difference), initial=0.0))


def _own_noise(runtime: OrtRuntime, feed: Feed, output: str) -> float:
    """How far rounding moves the exported graph: its results against itself in float64.

    For what moved inputs can't show: inputs that are indices can't be moved. A graph that
    computes something else does so in float64 as well, which leaves this small.
    """
    noise = measure_noise(runtime, [feed])
    return 0.0 if noise is None else noise.errors.get(output, 0.0)
