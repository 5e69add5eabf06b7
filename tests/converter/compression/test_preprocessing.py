"""Images that are scaled twice, or not at all, are told where the model says what it does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converter.compression.preprocessing import notes_of_preprocessing
from runtimes import Dataset, ImageOptions
from runtimes.keras_models.own_preprocessing import own_scaling


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    image = pytest.importorskip("PIL.Image", reason="needs Pillow")
    for place in range(2):
        image.new("RGB", (4, 4)).save(tmp_path / f"{place}.png")
    return tmp_path


@pytest.mark.parametrize(
    ("scaling", "scale", "said"),
    [
        (("rescaling, × 0.0039",), 1 / 255, "scales its inputs itself (rescaling, × 0.0039)"),
        ((), None, "no layer that scales its inputs"),
        (("rescaling",), None, None),
        ((), 1 / 255, None),
    ],
)
def test_what_is_told(
    folder: Path, scaling: tuple[str, ...], scale: float | None, said: str | None
) -> None:
    data = Dataset.open(folder, images=ImageOptions(scale=scale))
    notes = notes_of_preprocessing(data, scaling)
    assert len(notes) == (said is not None)
    assert all(str(said) in note for note in notes)
    assert notes_of_preprocessing(Dataset.open(np.zeros((2, 3))), scaling) == ()


def test_what_a_model_does_to_its_inputs() -> None:
    keras = pytest.importorskip("keras")
    layers = keras.layers

    def model(*first: Any) -> Any:
        x = start = keras.Input((8, 8, 3))
        for one in first:
            x = one(x)
        return keras.Model(start, layers.Conv2D(2, 3)(x))

    assert own_scaling(model()) == ()
    assert own_scaling(model(layers.Rescaling(1 / 255, name="r"))) == ("r, × 0.00392157",)
    inner = keras.Sequential([layers.Rescaling(0.5, name="n")], name="prep")
    assert own_scaling(model(inner)) == ("n, × 0.5",)
    assert len(own_scaling(model(lambda x: x / 255))) == 1
    assert own_scaling(model(layers.Conv2D(3, 1), lambda x: x / 255)) == ()
