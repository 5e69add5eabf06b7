"""Normalization layers."""

from __future__ import annotations

from layer_cases.case import Case, Given, case, masks


def cases() -> list[Case]:
    return [
        case("BatchNormalization", (8,)),
        case("BatchNormalization", (6, 8)),
        case("BatchNormalization", (6, 5, 8)),
        case("BatchNormalization", (4, 5, 6, 3)),
        case("BatchNormalization", (8, 6, 5), axis=1),
        case("BatchNormalization", (6, 5, 8), axis=2),
        case("BatchNormalization", (6, 5, 8), center=False),
        case("BatchNormalization", (6, 5, 8), scale=False, epsilon=0.1),
        case(
            "BatchNormalization",
            (6, 8),
            Given((6,), "bool", masks),
            variant="mask",
            call=lambda layer, x, mask: layer(x, mask=mask),
        ),
        case("BatchNormalization", (6, 5, 8), renorm=True),
        case(
            "BatchNormalization",
            (6, 5, 8),
            variant="after_convolution",
            call=lambda layer, x: layer(_convolution(x)),
        ),
        case("LayerNormalization", (8,)),
        case("LayerNormalization", (6, 8)),
        case("LayerNormalization", (6, 5, 8), axis=[1, 2]),
        case("LayerNormalization", (6, 5, 8), axis=1),
        case("LayerNormalization", (6, 5, 8), axis=[1, 2, 3]),
        case("LayerNormalization", (6, 8), center=False),
        case("LayerNormalization", (6, 8), scale=False),
        case("LayerNormalization", (6, 8), center=False, scale=False, epsilon=0.1),
        case("LayerNormalization", Given((None, 8), dynamic=(5,)), variant="dynamic"),
        case(
            "LayerNormalization",
            (6, 8),
            dtype="mixed_float16",
            variant="mixed_float16",
            tolerance=1e-2,
        ),
        case("GroupNormalization", (6, 8), groups=4),
        case("GroupNormalization", (6, 5, 8), groups=2),
        case("GroupNormalization", (8, 6, 5), groups=2, axis=1),
        case("GroupNormalization", (6, 5, 8), groups=-1),
        case("GroupNormalization", (6, 5, 8), groups=1, center=False),
        case("GroupNormalization", (6, 5, 8), groups=8, scale=False),
        case(
            "GroupNormalization",
            Given((None, None, 8), dynamic=(5, 6)),
            groups=4,
            variant="dynamic",
        ),
        case("RMSNormalization", (6, 8)),
        case("RMSNormalization", (6, 5, 8), epsilon=0.1),  # Keras fails on any other axis
        case("UnitNormalization", (6, 8)),
        case("UnitNormalization", (6, 5, 8), axis=1),
        case("UnitNormalization", (6, 5, 8), axis=[1, 2]),
        case(
            "SpectralNormalization",
            (8,),
            variant="Dense",
            make=lambda keras: keras.layers.SpectralNormalization(keras.layers.Dense(5)),
        ),
        case(
            "SpectralNormalization",
            (6, 5, 3),
            variant="Conv2D",
            make=lambda keras: keras.layers.SpectralNormalization(
                keras.layers.Conv2D(4, 3), power_iterations=2
            ),
        ),
        case(
            "Normalization",
            (8,),
            variant="vectors",
            mean=[float(i) for i in range(8)],
            variance=[0.5 + i for i in range(8)],
        ),
        case("Normalization", (6, 8), mean=0.5, variance=2.0),
        case("Normalization", (6, 8), axis=None, mean=0.5, variance=2.0),
        case("Normalization", (6, 8), mean=0.5, variance=2.0, invert=True),
        case(
            "Normalization",
            (6, 5, 3),
            axis=1,
            variant="axis_1",
            mean=[float(i) for i in range(6)],
            variance=[0.5 + i for i in range(6)],
        ),
        case("Normalization", (8,), variant="adapted", make=_adapted),
    ]


def _convolution(x):  # type: ignore[no-untyped-def]
    import keras

    return keras.layers.Conv2D(8, 3)(x)


def _adapted(keras):  # type: ignore[no-untyped-def]
    import numpy as np

    layer = keras.layers.Normalization()
    layer.adapt(np.random.default_rng(3).normal(2.0, 3.0, (50, 8)).astype("float32"))
    return layer
