"""A folder is what ``keras.utils.image_dataset_from_directory`` reads, pixel by pixel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes import Dataset, ImageOptions
from runtimes.data.resize_images import bilinear, cropped, inside

RNG = np.random.default_rng(0)
# How two decoders of JPEG may round; everything else is the same to a thousandth of a gray level.
_DECODERS = 12


def slow(pixels: Any, size: tuple[int, int]) -> Any:
    """What bilinear resizing is, place by place, in float64."""
    found = np.zeros((*size, pixels.shape[2]))
    for row in range(size[0]):
        for column in range(size[1]):
            y = min(max((row + 0.5) * pixels.shape[0] / size[0] - 0.5, 0), pixels.shape[0] - 1)
            x = min(max((column + 0.5) * pixels.shape[1] / size[1] - 0.5, 0), pixels.shape[1] - 1)
            top, left = int(y), int(x)
            bottom, right = min(top + 1, pixels.shape[0] - 1), min(left + 1, pixels.shape[1] - 1)
            upper = pixels[top, left] * (1 - x + left) + pixels[top, right] * (x - left)
            lower = pixels[bottom, left] * (1 - x + left) + pixels[bottom, right] * (x - left)
            found[row, column] = upper * (1 - y + top) + lower * (y - top)
    return found


sides = st.integers(1, 9)


@given(sides, sides, sides, sides)
def test_four_pixels_around_each_place_are_mixed(a: int, b: int, c: int, d: int) -> None:
    pixels = RNG.integers(0, 256, (a, b, 2)).astype(np.uint8)
    np.testing.assert_allclose(
        bilinear(pixels, (c, d)), slow(pixels.astype("d"), (c, d)), atol=1e-3
    )


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Classes, folders in them whose order is a matter of taste, an empty class, several sizes."""
    image = pytest.importorskip("PIL.Image", reason="needs Pillow")
    names = ["b/1.png", "b/0.png", "a/z.png", "a/in/y.png", "a/in-2/x.png", "a/in/w.bmp", "d/0.png"]
    for place, name in enumerate([*names, "d/1.gif", "a-b/0.png"]):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shape = (20 + 7 * place, 70 - 5 * place, 3)
        image.fromarray(RNG.integers(0, 256, shape).astype(np.uint8)).save(tmp_path / name)
    (tmp_path / "c").mkdir()
    return tmp_path


def ours(folder: Path, **options: Any) -> tuple[Any, Any]:
    data = Dataset.open(folder, images=ImageOptions(**options))
    batches = list(data.batches(4))
    return (
        np.concatenate([batch.feed["data"] for batch in batches]),
        np.concatenate([batch.labels[""] for batch in batches]),
    )


def keras_reads(folder: Path, **options: Any) -> tuple[Any, Any]:
    keras = pytest.importorskip("keras")
    data = keras.utils.image_dataset_from_directory(
        folder, shuffle=False, verbose=False, batch_size=4, **options
    )
    batches = [(np.asarray(x), np.asarray(y)) for x, y in data]
    return np.concatenate([x for x, _ in batches]), np.concatenate([y for _, y in batches])


@pytest.mark.parametrize("size", [(32, 32), (17, 90), (8, 8)])
def test_pixels_order_and_labels(photos: Path, size: tuple[int, int]) -> None:
    expected, classes = keras_reads(photos, image_size=size)
    found, labels = ours(photos, size=size, color="rgb")
    np.testing.assert_array_equal(labels, classes)
    np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize(
    ("fit", "option"), [("crop", "crop_to_aspect_ratio"), ("pad", "pad_to_aspect_ratio")]
)
def test_proportions_are_kept_alike(photos: Path, fit: Any, option: str) -> None:
    expected, _ = keras_reads(photos, image_size=(24, 31), **{option: True})
    found, _ = ours(photos, size=(24, 31), fit=fit, color="rgb")
    np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize(("color", "mode"), [("gray", "grayscale"), ("rgb", "rgb")])
def test_colours_of_jpeg(tmp_path: Path, color: Any, mode: str) -> None:
    image = pytest.importorskip("PIL.Image", reason="needs Pillow")
    (tmp_path / "a").mkdir()
    smooth = bilinear(RNG.integers(0, 256, (5, 6, 3)).astype(np.uint8), (60, 70)).astype(np.uint8)
    image.fromarray(smooth).save(tmp_path / "a/0.jpg", quality=95)
    image.fromarray(smooth[..., 0]).save(tmp_path / "a/1.jpg", quality=95)
    expected, _ = keras_reads(tmp_path, image_size=(60, 70), color_mode=mode)
    found, _ = ours(tmp_path, color=color)
    np.testing.assert_allclose(found, expected, atol=_DECODERS)
    assert abs(found - expected).mean() < 2


def test_parts_that_keep_the_proportions() -> None:
    pixels = np.zeros((10, 30, 1), np.uint8)
    assert cropped(pixels, (20, 20)).shape == (10, 10, 1)
    assert inside((10, 30), (20, 20)) == ((6, 20), (6, 0))
