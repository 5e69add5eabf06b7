"""All cases, and what comes of one."""

from __future__ import annotations

import importlib.util
import inspect
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from layer_cases import (
    activations,
    attention,
    convolution,
    core,
    features,
    foreign,
    images,
    merging,
    normalization,
    pooling,
    recurrent,
    regularization,
    reshaping,
)
from layer_cases.case import Array, Case, reset_states
from layer_cases.channels_last import (
    channels_last_twin,
    is_dilated_transposed,
    needs_twin,
    without_dilation,
)

FAMILIES = (
    core,
    activations,
    convolution,
    pooling,
    recurrent,
    attention,
    normalization,
    regularization,
    merging,
    reshaping,
    images,
    features,
    foreign,
)

NOT_LAYERS = {"InputSpec": "describes what a layer accepts"}


@dataclass(frozen=True)
class Outcome:
    """``right``; ``refused`` with the message; ``wrong``; ``absent`` where something is missing."""

    status: Literal["right", "refused", "wrong", "absent"]
    detail: str = ""
    error: Exception | None = None
    nodes: int = 0


def all_cases() -> list[Case]:
    """Every case; two of one name would hide each other."""
    cases = [case for family in FAMILIES for case in family.cases()]
    names = [case.id for case in cases]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise AssertionError(f"cases of the same name: {sorted(twice)}")
    return cases


def layer_classes(keras: Any) -> dict[str, tuple[str, ...]]:
    """The public classes of keras.layers with all their names: first comes the class' own."""
    names: dict[type, list[str]] = {}
    for name in sorted(dir(keras.layers)):
        found = getattr(keras.layers, name)
        if inspect.isclass(found):
            names.setdefault(found, []).append(name)
    return {cls.__name__: tuple(aliases) for cls, aliases in names.items()}


def attempt(case: Case) -> Outcome:
    """Export the case's model and compare it with Keras through ONNX Runtime."""
    import keras

    from converter.export.export import export
    from runtimes.engines.ort import OrtRuntime
    from runtimes.errors import ModelError, UnsupportedOperator

    lacking = _lacking(case, keras)
    if lacking:
        return Outcome("absent", lacking)
    model = case.model(keras)
    feeds = case.feeds()
    judge = _judge(keras, model)
    expected = [reference(judge, feed) for feed in feeds]
    reset_states(model)
    try:
        converted = export(model)
    except UnsupportedOperator as error:
        return Outcome("refused", str(error), error)
    except Exception as error:
        return Outcome("wrong", f"{type(error).__name__}: {error}", error)
    nodes = sum(1 for _ in converted.graph.all_nodes())
    try:
        with OrtRuntime(converted, threads=1) as candidate:
            for feed, wanted in zip(feeds, expected, strict=True):
                batch = next(iter(feed.values())).shape[0]
                found = list(candidate.run(feed).values())
                problem = difference(wanted, found, case.tolerance)
                if problem:
                    return Outcome("wrong", f"batch {batch}: {problem}", nodes=nodes)
    except ModelError as error:
        return Outcome("wrong", str(error), error, nodes)
    return Outcome("right", nodes=nodes)


def _lacking(case: Case, keras: Any) -> str:
    """What a case needs that is not there, if anything."""
    if case.needs and importlib.util.find_spec(case.needs) is None:
        return f"{case.needs} is not installed"
    if not hasattr(keras.layers, case.layer):
        return f"Keras {keras.__version__} has no layer {case.layer}"
    return ""


def _judge(keras: Any, model: Any) -> Any:
    """The model that says what is right: ``model``, unless not every CPU runs it."""
    for layer in model.layers:
        if needs_twin(layer):
            twin = channels_last_twin(keras, layer)
            twin.set_weights(model.get_weights())
            return keras.Model([twin.input], twin.output)  # takes a list, as the case's model does
        if is_dilated_transposed(layer):
            return without_dilation(keras, layer)
    return model


def reference(model: Any, feed: dict[str, Array]) -> list[Array]:
    """What Keras gives, flattened: as ``predict`` does it, in a function of static shapes.

    Some layers differ from that when called eagerly, and some fail on dynamic shapes.
    """
    import keras
    import tensorflow as tf

    reset_states(model)
    tensors = [tf.convert_to_tensor(values) for values in feed.values()]
    function = tf.function(lambda *given: model(list(given), training=False))
    return [np.asarray(output) for output in keras.tree.flatten(function(*tensors))]


def difference(wanted: list[Array], found: list[Array], tolerance: float) -> str:
    """What is wrong with ``found``, or nothing; the tolerance is relative to the output's size."""
    if len(wanted) != len(found):
        return f"{len(found)} outputs instead of {len(wanted)}"
    for i, (a, b) in enumerate(zip(wanted, found, strict=True)):
        if a.shape != b.shape or a.dtype != b.dtype:
            return f"output {i} is {b.dtype}{b.shape} instead of {a.dtype}{a.shape}"
        if a.dtype.kind not in "fV":
            if [_text(v) for v in a.ravel()] != [_text(v) for v in b.ravel()]:
                return f"output {i} differs: {b.ravel()[:8]} instead of {a.ravel()[:8]}"
            continue
        x, y = a.astype(np.float64), b.astype(np.float64)
        if not np.array_equal(np.isnan(x), np.isnan(y)):
            return f"output {i} has NaN elsewhere"
        scale = max(1.0, float(np.max(np.abs(x), where=np.isfinite(x), initial=0.0)))
        same = (x == y) | np.isnan(x)  # infinities among them
        off = (
            float(np.max(np.abs(np.where(same, 0.0, x) - np.where(same, 0.0, y)), initial=0))
            / scale
        )
        if not off <= tolerance:
            return f"output {i} is off by {off:.3g} (tolerance {tolerance})"
    return ""


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value
