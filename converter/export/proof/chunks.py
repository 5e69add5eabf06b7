"""The proof for a model with state: two consecutive chunks of a stream."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from converter.export.proof.differences import judge, max_difference
from converter.export.proof.expectations import Expectation
from converter.export.proof.keras_calls import call_eagerly
from converter.export.proof.prove import (
    OutputProof,
    feed_of,
    moved_by_rounding,
    open_exported,
    run_exported,
    where,
)
from converter.export.proof.session import proof_session
from converter.export.tracing.states import State
from runtimes.base import Array
from runtimes.keras_models.signature import KerasSignature
from runtimes.keras_models.state import kept_state


def prove_chunks(
    path: str | os.PathLike[str],
    model: Any,
    signature: KerasSignature,
    states: Sequence[State],
    expected: Sequence[Expectation],
    *,
    graph: ir.Model,
    images: Collection[str],
) -> tuple[OutputProof, ...]:
    """Run two chunks in Keras and in the file, feeding the file's states from the first back in.

    The first chunk starts from the defaults. Both are the shortest of ``expected``, because a model
    forgets its initial state over a long one. Raises ``ConversionError`` if an output or a state
    differs by more than rounding explains.
    """
    chunks = [min(expected, key=_elements)] * 2
    feeds = [chunk.feed for chunk in chunks]
    names = [str(value.name) for value in graph.graph.outputs]
    wanted = _in_keras(model, signature, states, feeds)

    def noise(number: int, index: int) -> float:
        moved = _in_keras(model, signature, states, [moved_by_rounding(feed) for feed in feeds])
        return max_difference(wanted[number][index], moved[number][index])

    proofs = []
    fed: dict[str, Array] = {}
    with proof_session(Path(path), graph) as session, open_exported(session, model) as runtime:
        for number, chunk in enumerate(chunks):
            place = f"chunk {number + 1} ({where(chunk)})"
            feed = {**feed_of(chunk, images), **fed}
            actual = run_exported(runtime, feed, place, model)
            for index, name in enumerate(names):
                error, allowed = judge(
                    name,
                    wanted[number][index],
                    actual[name],
                    where=place,
                    model=model.name,
                    noises=[partial(noise, number, index)],
                )
                sizes = {"chunk": number + 1, **chunk.sizes}
                proofs.append(OutputProof(name, chunk.batch, error, allowed, sizes))
            fed = {state.name: actual[state.next_name] for state in states}
    return tuple(proofs)


def _elements(run: Expectation) -> int:
    return sum(values.size for values in run.feed.values())


def _in_keras(
    model: Any,
    signature: KerasSignature,
    states: Sequence[State],
    feeds: Sequence[Mapping[str, Array]],
) -> list[list[Array]]:
    """Outputs, then states, after each of ``feeds``; states carry over from one to the next."""
    found = []
    with kept_state(model):
        for feed in feeds:
            outputs = call_eagerly(model, signature, feed)
            after = [np.array(state.variable.value) for state in states]
            found.append([*outputs, *after])
    return found
