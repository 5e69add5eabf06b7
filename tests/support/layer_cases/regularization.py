"""Layers that do something in training only."""

from __future__ import annotations

from layer_cases.case import Case, case


def cases() -> list[Case]:
    return [
        case("ActivityRegularization", (6, 8), l1=0.1, l2=0.1),
        case("AlphaDropout", (6, 8), rate=0.3),
        case("Dropout", (6, 8), rate=0.3),
        case("Dropout", (6, 8), rate=0.3, noise_shape=(None, 1, 8)),
        case("GaussianDropout", (6, 8), rate=0.3),
        case("GaussianNoise", (6, 8), stddev=0.3),
        case("SpatialDropout1D", (6, 8), rate=0.3),
        case("SpatialDropout2D", (6, 5, 3), rate=0.3),
        case("SpatialDropout2D", (3, 6, 5), rate=0.3, data_format="channels_first"),
        case("SpatialDropout3D", (4, 5, 6, 3), rate=0.3),
    ]
