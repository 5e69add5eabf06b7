"""Folders of images, where Pillow is installed, and the way out where it is not."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtimes import DataError, Dataset, ImageOptions


@pytest.fixture
def image() -> Any:
    return pytest.importorskip("PIL.Image", reason="needs Pillow")


def test_without_pillow_the_message_says_how(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(DataError, match=r"Pillow is not installed .*'images' brings it: pip"):
        Dataset.open(tmp_path)


def test_images_come_in_order_of_path(tmp_path: Path, image: Any) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 6, 4, 3), np.uint8)
    for i, one in enumerate(pixels):
        image.fromarray(one).save(tmp_path / f"{i}.png")
    (tmp_path / "notes.txt").write_text("not an image")
    data = Dataset.open(tmp_path)
    assert data.num_samples == 5
    found = np.concatenate([batch.feed["data"] for batch in data.batches(2)])
    np.testing.assert_array_equal(found, pixels)
    part, _ = data.split(0.4)
    batch = next(part.batches(9))
    np.testing.assert_array_equal(batch.feed["data"], pixels[batch.indices])


def test_subfolders_are_classes(tmp_path: Path, image: Any) -> None:
    for name, gray in (("dog", 7), ("cat", 9)):
        (tmp_path / name).mkdir()
        for i in range(2):
            image.new("L", (4, 4), gray).save(tmp_path / name / f"{i}.png")
    batch = next(Dataset.open(tmp_path).batches(9))
    assert batch.labels[""].tolist() == [0, 0, 1, 1]
    assert batch.feed["data"].shape == (4, 4, 4, 1)
    assert batch.feed["data"][:, 0, 0, 0].tolist() == [9, 9, 7, 7]
    image.new("L", (4, 4)).save(tmp_path / "stray.png")
    with pytest.raises(DataError, match=r"in subfolders \(classes\) and beside them \(stray\.png"):
        Dataset.open(tmp_path)


def test_images_that_cannot_be_batched(tmp_path: Path, image: Any) -> None:
    image.new("L", (4, 4)).save(tmp_path / "0.png")
    image.new("RGB", (4, 4)).save(tmp_path / "1.png")
    with pytest.raises(DataError, match=r"1\.png has colours and .*0\.png is gray"):
        list(Dataset.open(tmp_path).batches(2))
    (tmp_path / "1.png").write_bytes(b"not an image")
    with pytest.raises(DataError, match=r"1\.png is not an image that can be read"):
        list(Dataset.open(tmp_path).batches(2))
    noise = np.random.default_rng(0).integers(0, 256, (4, 4), np.uint8)
    image.fromarray(noise).save(tmp_path / "1.png")
    raw = (tmp_path / "1.png").read_bytes()
    (tmp_path / "1.png").write_bytes(raw[:50])
    with pytest.raises(DataError, match=r"1\.png is a damaged image"):
        list(Dataset.open(tmp_path).batches(2))


def test_images_of_several_sizes_are_batched_by_size(tmp_path: Path, image: Any) -> None:
    for i, width in enumerate((4, 5, 4, 5, 4)):
        image.new("L", (width, 3), i).save(tmp_path / f"{i}.png")
    found = [
        (batch.feed["data"].shape, batch.indices.tolist())
        for batch in Dataset.open(tmp_path).batches(2)
    ]
    assert found == [((2, 3, 4, 1), [0, 2]), ((2, 3, 5, 1), [1, 3]), ((1, 3, 4, 1), [4])]


@pytest.mark.parametrize(
    ("fit", "corner", "middle"), [("stretch", 200, 200), ("crop", 200, 200), ("pad", 0, 200)]
)
def test_images_are_brought_to_a_size(
    tmp_path: Path, image: Any, fit: Any, corner: int, middle: int
) -> None:
    image.new("L", (8, 4), 200).save(tmp_path / "0.png")
    image.new("L", (4, 4), 200).save(tmp_path / "1.png")
    data = Dataset.open(tmp_path, images=ImageOptions(size=(6, 6), fit=fit))
    batch = next(data.batches(2))
    assert batch.feed["data"].shape == (2, 6, 6, 1)
    assert batch.feed["data"].dtype == np.uint8
    assert batch.feed["data"][0, 0, 0, 0] == corner
    assert batch.feed["data"][0, 3, 3, 0] == middle


def test_images_are_scaled_and_turned(tmp_path: Path, image: Any) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 3), np.uint8)
    for i, one in enumerate(pixels):
        image.fromarray(one).save(tmp_path / f"{i}.png")
    options = ImageOptions(scale=1 / 127.5, offset=(-1, 0, 1), channels_first=True)
    batch = next(Dataset.open(tmp_path, images=options).batches(2))
    expected = (pixels / 127.5 + [-1, 0, 1]).transpose(0, 3, 1, 2)
    assert batch.feed["data"].dtype == np.float32
    np.testing.assert_allclose(batch.feed["data"], expected, rtol=1e-6, atol=1e-6)
    gray = next(Dataset.open(tmp_path, images=ImageOptions(color="gray")).batches(2))
    assert gray.feed["data"].shape == (2, 3, 4, 1)


def test_options_of_images_that_make_no_sense(tmp_path: Path, image: Any) -> None:
    image.new("L", (4, 4)).save(tmp_path / "0.png")
    with pytest.raises(DataError, match="one number or one a channel"):
        Dataset.open(tmp_path, images=ImageOptions(scale=(1, 2, 3)))
    with pytest.raises(DataError, match="fit of images is stretch, crop, pad; not squash"):
        ImageOptions(fit="squash")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="height and width"):
        ImageOptions(size=(0, 4))
    with pytest.raises(DataError, match="the data are none"):
        Dataset.open(np.zeros((2, 2)), images=ImageOptions())
    np.save(tmp_path / "a.npy", np.zeros((2, 2)))
    with pytest.raises(DataError, match=r"a\.npy is a file"):
        Dataset.open(tmp_path / "a.npy", images=ImageOptions())


def test_a_folder_without_images(tmp_path: Path, image: Any) -> None:
    with pytest.raises(DataError, match="holds no images"):
        Dataset.open(tmp_path)


def test_a_picture_cut_off_or_too_large_to_be_one_is_named(tmp_path: Path, image: Any) -> None:
    import struct
    import zlib

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    image.fromarray(noise).save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"a\.png is a damaged image"):
        list(Dataset.open(tmp_path).batches(1))
    size = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    head = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size)
    (tmp_path / "a.png").write_bytes(head + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    with pytest.raises(DataError, match=r"a\.png is not an image that can be read: .* pixels"):
        Dataset.open(tmp_path)
