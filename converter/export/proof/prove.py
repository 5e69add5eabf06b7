"""The proof that an exported file behaves like its Keras model, before it gets its name."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from converter.export.channels_first import to_channels_first
from converter.export.proof.differences import agree, judge, max_difference
from converter.export.proof.expectations import Expectation
from converter.export.proof.keras_calls import run_in_graph, run_keras
from converter.export.proof.session import ProofSession, proof_session
from runtimes.base import Array, Feed
from runtimes.engines.ort import OrtRuntime
from runtimes.errors import (
    ConversionError,
    KilnxError,
    ModelError,
    UnsupportedOperator,
    first_line,
)
from runtimes.keras_models.signature import KerasSignature
from runtimes.parity.rounding_noise import measure_noise, moved_feed

# How ONNX Runtime says that an operator exists, but not for this element type.
_NO_KERNEL = "Could not find an implementation"

# ONNX Runtime multiplies by weights of 4 and 8 bits with the other side rounded to int8, but for
# this: then it computes what the file says, in float32.
FLOAT32_MATMUL = {"session.qdq_matmulnbits_accuracy_level": "1"}


@dataclass(frozen=True)
class OutputProof:
    """One output on one batch: the largest error and what was allowed.

    ``sizes`` are those of the inputs' dynamic dimensions, by name.
    """

    output: str
    batch: int
    max_abs_error: float
    allowed: float
    sizes: dict[str, int] = field(default_factory=dict)


def prove(
    path: str | os.PathLike[str],
    model: Any,
    signature: KerasSignature,
    output_names: Sequence[str],
    expected: Sequence[Expectation],
    *,
    graph: ir.Model | None = None,
    images: Collection[str] = (),
) -> tuple[OutputProof, ...]:
    """Check the ONNX file at ``path`` and hold it against what Keras answered.

    ``graph``: what it was written from; a large file is proven on the weights in there, once
    they were compared with the file's. ``images``: the inputs that the file has channels first.
    Raises ``ConversionError`` when the checker, the runtime or the comparison says no.
    """
    with proof_session(Path(path), graph) as session, open_exported(session, model) as runtime:
        prover = _Prover(runtime, model, signature, tuple(output_names), images)
        return tuple(proof for run in expected for proof in prover.proofs(run))


@dataclass(frozen=True)
class _Prover:
    """An exported file that is open, and the model that it was made from."""

    runtime: OrtRuntime
    model: Any
    signature: KerasSignature
    names: tuple[str, ...]
    images: Collection[str]

    def proofs(self, run: Expectation) -> list[OutputProof]:
        """Hold the file against one answer of Keras."""
        feed = feed_of(run, self.images)
        actual = run_exported(self.runtime, feed, where(run), self.model)
        outputs, call = run.outputs, run_keras
        if not all(map(agree, outputs, (actual[name] for name in self.names))):
            call = run_in_graph
            outputs = call(self.model, self.signature, run.feed)

        def moved_noise(index: int) -> float:
            moved = call(self.model, self.signature, moved_by_rounding(run.feed))
            return max_difference(outputs[index], moved[index])

        proofs = []
        for index, name in enumerate(self.names):
            error, allowed = judge(
                name,
                outputs[index],
                actual[name],
                where=where(run),
                model=self.model.name,
                noises=(partial(moved_noise, index), partial(_own_noise, self.runtime, feed, name)),
            )
            proofs.append(OutputProof(name, run.batch, error, allowed, run.sizes))
        return proofs


def run_exported(runtime: OrtRuntime, feed: Feed, place: str, model: Any) -> dict[str, Array]:
    """What the file gives for a sample that Keras accepts; so it has to run."""
    try:
        return runtime.run(feed)
    except ModelError as error:
        raise ConversionError(
            f"the model exported from {model.name!r} fails at {place}, where Keras runs: "
            f"{error}. This is a defect of the export; please report it with the model"
        ) from error


def where(run: Expectation) -> str:
    """The sizes of a sample, for messages: ``batch 3, length 24``."""
    sizes = {"batch": run.batch, **run.sizes}
    return ", ".join(f"{name} {size}" for name, size in sizes.items())


def open_exported(session: ProofSession, model: Any) -> OrtRuntime:
    """A session on the file; an error says whether the model or the export is to blame."""
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


def feed_of(run: Expectation, images: Collection[str]) -> Feed:
    """What Keras was fed with, and the ``images`` channels first, as the file takes them."""
    return {
        name: np.ascontiguousarray(values.transpose(to_channels_first(values.ndim)))
        if name in images
        else values
        for name, values in run.feed.items()
    }


def moved_by_rounding(feed: Feed) -> dict[str, Array]:
    """The feed moved by a rounding.

    A network that amplifies rounding does so in every runtime: how far its outputs move bounds
    what any other runtime can be asked for.
    """
    return moved_feed(feed, np.random.default_rng(0))


def _own_noise(runtime: OrtRuntime, feed: Feed, output: str) -> float:
    """How far rounding moves the exported graph: its results against itself in float64.

    For what moved inputs can't show: inputs that are indices can't be moved. A graph that
    computes something else does so in float64 as well, which leaves this small.
    """
    noise = measure_noise(runtime, [feed])
    return 0.0 if noise is None else noise.errors.get(output, 0.0)
