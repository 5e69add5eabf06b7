"""What ``compress`` starts from: a proven file, and what only the Keras model tells."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_ir as ir

from converter.export.convert import export_to
from converter.export.other_backends import Sample, as_file, compare_with_original
from converter.export.sources import load_source
from converter.export.tensorflow_process import in_tensorflow
from runtimes.base import TensorSpec
from runtimes.defects import Defect, contain
from runtimes.keras_models.backend import other_backend
from runtimes.keras_models.compiled_loss import losses_of
from runtimes.keras_models.live_keras2 import is_live_keras2
from runtimes.keras_models.loss_meaning import Loss
from runtimes.keras_models.own_preprocessing import own_scaling
from runtimes.options import KerasOptions


@dataclass(frozen=True)
class Exported:
    """The fp32 graph (None: it is only in the file) and the model's losses and own scaling.

    ``defects``: what failed of these two; ``notes``: what the user should know.
    """

    graph: ir.Model | None
    losses: Mapping[str, Loss]
    scaling: tuple[str, ...] | None
    defects: tuple[Defect, ...] = ()
    notes: tuple[str, ...] = ()


Look = Callable[[Sequence[TensorSpec], Sequence[TensorSpec]], None]
"""Is shown a model's inputs and outputs (none, where they are not known) before it is exported."""


def export_reference(
    model: Any, path: str | os.PathLike[str], keras: KerasOptions, look: Look | None = None
) -> Exported:
    """Export a Keras model to ``path`` and prove it, by another process where Keras needs one.

    ``look`` may refuse to go on; another process does not ask it.
    """
    if other_backend() is None or is_live_keras2(model):
        exported, _ = export_on_tensorflow(model, path, keras, look)
        return exported
    with as_file(model, keras) as (file, how):
        exported, samples = in_tensorflow(_without_graph, file, os.fspath(path), how)
        if isinstance(model, str | os.PathLike):
            return exported
        return replace(exported, notes=compare_with_original(path, model, samples))


def export_on_tensorflow(
    model: Any, path: str | os.PathLike[str], keras: KerasOptions, look: Look | None = None
) -> tuple[Exported, tuple[Sample, ...]]:
    """``export_reference`` where Keras runs on TensorFlow, and the samples of its proof."""
    live, signature = load_source(model, **keras.to_dict())
    if look is not None:
        look(signature.inputs, _outputs(live, signature.declared_outputs))
    graph, samples = export_to(path, live, signature)
    losses = contain("reading the loss", lambda: losses_of(live))
    scaling = contain("reading the model's own preprocessing", lambda: own_scaling(live))
    exported = Exported(
        graph,
        {} if isinstance(losses, Defect) else losses,
        None if isinstance(scaling, Defect) else scaling,
        tuple(one for one in (losses, scaling) if isinstance(one, Defect)),
    )
    return exported, samples


def _outputs(live: Any, names: Sequence[str]) -> tuple[TensorSpec, ...]:
    """The outputs that a model declares; none where it does not say all of them."""
    tensors = getattr(live, "outputs", None) or ()
    if not names or len(names) != len(tensors):
        return ()
    return tuple(
        TensorSpec(name, np.dtype(np.float32), tuple(tensor.shape))
        for name, tensor in zip(names, tensors, strict=True)
    )


def _without_graph(
    model: Any, path: str, keras: KerasOptions
) -> tuple[Exported, tuple[Sample, ...]]:
    exported, samples = export_on_tensorflow(model, path, keras)
    return replace(exported, graph=None), samples
