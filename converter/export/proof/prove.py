"""The proof that an exported file matches its Keras model, before it gets its final name."""

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

# ONNX Runtime's message if an operator exists, but not for this element type.
_NO_KERNEL = "Could not find an implementation"

# By default, ONNX Runtime rounds activations to int8 before it multiplies them by weights of 4 or
# 8 bits. With this option it multiplies in float32, as the file specifies.
FLOAT32_MATMUL = {"session.qdq_matmulnbits_accuracy_level": "1"}


@dataclass(frozen=True)
class OutputProof:
    """One output on one batch: the largest error and what was allowed.

    ``sizes`` are the sizes of the inputs' dynamic dimensions, by name.
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
    """Check the ONNX file at ``path`` and compare it with Keras' outputs.

    ``graph``: the graph that it was written from; a large file is proven with the weights of the
    graph, after they were compared with those in the file. ``images``: the inputs that are
    channels first in the file. Raises ``ConversionError`` if the checker, the runtime or the
    comparison fails.
    """
    with proof_session(Path(path), graph) as session, open_exported(session, model) as runtime:
        prover = _Prover(runtime, model, signature, tuple(output_names), images)
        return tuple(proof for run in expected for proof in prover.proofs(run))


@dataclass(frozen=True)
class _Prover:
    """An open exported file, and the model that it was exported from."""

    runtime: OrtRuntime
    model: Any
    signature: KerasSignature
    names: tuple[str, ...]
    images: Collection[str]

    def proofs(self, run: Expectation) -> list[OutputProof]:
        """Compare the file with one of Keras' outputs."""
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
    """The file's outputs for a sample that Keras accepts; failing is a defect of the export."""
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
    """A session for the file; an error says whether the model or the export is at fault."""
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
    """The feed of Keras, with the ``images`` channels first, as the file takes them."""
    return {
        name: np.ascontiguousarray(values.transpose(to_channels_first(values.ndim)))
        if name in images
        else values
        for name, values in run.feed.items()
    }


def moved_by_rounding(feed: Feed) -> dict[str, Array]:
    """The feed, perturbed by one rounding.

    A network that amplifies rounding does so in every runtime: how far its outputs move limits the
    precision that can be expected of any other runtime.
    """
    return moved_feed(feed, np.random.default_rng(0))


def _own_noise(runtime: OrtRuntime, feed: Feed, output: str) -> float:
    """How far rounding changes the exported graph's outputs: float32 against float64.

    For what perturbed inputs cannot show, because indices cannot be perturbed. A wrong graph is
    wrong in float64 as well, so its error does not make this larger.
    """
    noise = measure_noise(runtime, [feed])
    return 0.0 if noise is None else noise.errors.get(output, 0.0)
