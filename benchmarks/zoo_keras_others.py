"""Models of smaller libraries: kimm (images), keras-rs (recommenders) and keras-tcn (sequences)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from zoo_case import VOCABULARY, Case, Part

PACKAGES = ("kimm", "keras-rs", "keras-tcn")

KIMM = (
    "ConvMixer736D32 ConvNeXtAtto DenseNet121 EfficientNetLiteB0 EfficientNetV2B0 TinyNetE "
    "GhostNetW050 GhostNetV2W100 GhostNetV3W050 HGNetTiny HGNetV2B0 InceptionNeXtTiny "
    "MobileNetV2W050 LCNet035 MobileNetV3W050Small MobileOneS0 MobileViTXXS MobileViTV2W050 "
    "RegNetX002 RegNetY002 RepVGGA0 ResNet18 VisionTransformerTiny32 Xception"
)


def warm_up() -> None:
    """Import what every case needs."""
    import keras_rs  # noqa: F401
    import kimm  # noqa: F401


def cases() -> Iterator[Case]:
    """Every case."""
    for name in KIMM.split():
        arguments = {"input_shape": [64, 64, 3], "weights": None, "classes": 5}
        yield Case(f"kimm.{name}", Part("kimm.models", name, arguments).build)
    for name, build in (RECOMMENDERS | SEQUENCES).items():
        yield Case(name, build)


def missing() -> list[str]:
    """Families are picked by hand here: nothing is counted as missing."""
    return []


def _bags(combiner: str) -> Any:
    import keras
    import keras_rs

    ids = keras.Input((None,), dtype="int32", name="ids")
    bag = keras_rs.layers.EmbedReduce(VOCABULARY, 8, combiner=combiner)(ids)
    return keras.Model(ids, keras.layers.Dense(3)(bag))


def _deep_cross() -> Any:
    import keras
    import keras_rs

    ids = keras.Input((6,), dtype="int32", name="ids")
    first = keras.layers.Flatten()(keras.layers.Embedding(VOCABULARY, 4)(ids))
    crossed = keras_rs.layers.FeatureCross(projection_dim=5)(first, first)
    crossed = keras_rs.layers.FeatureCross()(first, crossed)
    return keras.Model(ids, keras.layers.Dense(1, "sigmoid")(crossed))


def _dlrm() -> Any:
    import keras
    import keras_rs

    dense = keras.Input((5,), name="numbers")
    ids = [keras.Input((), dtype="int32", name=f"id_{n}") for n in range(3)]
    parts = [keras.layers.Dense(8, "relu")(dense)]
    parts += [keras.layers.Embedding(VOCABULARY, 8)(one) for one in ids]
    pairs = keras_rs.layers.DotInteraction()(parts)
    joined = keras.layers.Concatenate()([parts[0], pairs])
    return keras.Model([dense, *ids], keras.layers.Dense(1, "sigmoid")(joined))


def _retrieval() -> Any:
    import keras
    import keras_rs
    import numpy as np

    candidates = np.random.default_rng(0).standard_normal((40, 8)).astype("float32")
    ids = keras.Input((), dtype="int32", name="user")
    query = keras.layers.Embedding(VOCABULARY, 8)(ids)
    found = keras_rs.layers.BruteForceRetrieval(candidates, k=5, return_scores=True)(query)
    return keras.Model(ids, found)


def _tcn(**arguments: Any) -> Callable[[], Any]:
    def build() -> Any:
        import keras
        from tcn import TCN

        signal = keras.Input((None, 4), name="signal")
        found = TCN(nb_filters=8, kernel_size=3, dilations=(1, 2, 4), **arguments)(signal)
        return keras.Model(signal, keras.layers.Dense(2)(found))

    return build


RECOMMENDERS: dict[str, Callable[[], Any]] = {
    **{f"keras-rs EmbedReduce {kind}": lambda kind=kind: _bags(kind) for kind in ("sum", "mean")},
    "keras-rs deep and cross": _deep_cross,
    "keras-rs DLRM": _dlrm,
    "keras-rs retrieval": _retrieval,
}
SEQUENCES: dict[str, Callable[[], Any]] = {
    "keras-tcn": _tcn(),
    "keras-tcn of sequences": _tcn(return_sequences=True, use_layer_norm=True),
    "keras-tcn with BatchNormalization": _tcn(use_batch_norm=True, use_skip_connections=False),
    "keras-tcn that sees the future": _tcn(padding="same", return_sequences=True),
}
