"""UpSampling is one Resize."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

CASES = {
    "sequence": ("UpSampling1D", {"size": 3}, (5, 4), 0),
    "image": ("UpSampling2D", {"size": (2, 3)}, (5, 4, 3), 2),
    "image, channels first": (
        "UpSampling2D",
        {"size": (2, 3), "data_format": "channels_first"},
        (3, 5, 4),
        0,
    ),
    "image, bilinear": ("UpSampling2D", {"size": 2, "interpolation": "bilinear"}, (5, 4, 3), 2),
    "volume": ("UpSampling3D", {"size": (2, 1, 3)}, (3, 5, 4, 2), 2),
}


@pytest.mark.sweep(3)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("opset", [13, 18])
def test_one_resize(keras: Any, parity: Any, case: str, dynamic: bool, opset: int) -> None:
    name, options, shape, transposed = CASES[case]
    channels_first = options.get("data_format") == "channels_first"
    known = (shape[0], None, None) if channels_first else (*(None for _ in shape[1:]), shape[-1])
    tensor = keras.Input(known if dynamic else shape)
    model = keras.Model(tensor, getattr(keras.layers, name)(**options)(tensor))
    rng = np.random.default_rng(0)
    samples = [[rng.normal(size=(batch, *shape)).astype(np.float32)] for batch in (1, 3)]
    operators = parity(model, samples, opset=opset)
    assert operators["Resize"] == 1
    assert operators.total() == 1 + transposed


def test_other_interpolations_have_lowerings_of_their_own(keras: Any, parity: Any) -> None:
    tensor = keras.Input((5, 4, 3))
    layer = keras.layers.UpSampling2D(3, interpolation="bicubic")
    rng = np.random.default_rng(0)
    samples = [[rng.normal(size=(2, 5, 4, 3)).astype(np.float32)]]
    assert "Resize" not in parity(keras.Model(tensor, layer(tensor)), samples)


def test_half_precision(keras: Any, parity: Any) -> None:
    tensor = keras.Input((5, 4, 3))
    outputs = [
        keras.layers.UpSampling2D(2, interpolation=kind, dtype="mixed_float16")(tensor)
        for kind in ("nearest", "bilinear")
    ]
    rng = np.random.default_rng(0)
    samples = [[rng.normal(size=(2, 5, 4, 3)).astype(np.float32)]]
    assert parity(keras.Model(tensor, outputs), samples, tolerance=1e-3)["Resize"] == 2
