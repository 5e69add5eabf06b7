"""Folders of images, where Pillow is installed, and the way out where it is not."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtimes import DataError, Dataset, ImageOptions
from runtimes.base import TensorSpec


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
    with pytest.raises(DataError, match=r"in subfolders \(classes\) and next to them \(stray\.png"):
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
    assert batch.feed["data"].dtype == np.float32
    assert data.notes == ("pixels keep their values, 0…255",)
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


def test_a_broken_picture_is_named_and_may_be_left_out(tmp_path: Path, image: Any) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    for place, one in enumerate(pixels):
        folder = tmp_path / f"class {place // 2}"
        folder.mkdir(exist_ok=True)
        image.fromarray(one).save(folder / f"{place}.png")
    broken = tmp_path / "class 0/1.png"
    broken.write_bytes(broken.read_bytes()[:300])
    with pytest.raises(DataError, match=r"1\.png is a damaged image.*--skip-broken-images"):
        list(Dataset.open(tmp_path).batches(4))
    data = Dataset.open(tmp_path, images=ImageOptions(skip_broken=True))
    assert data.notes == (f"1 of 4 images cannot be read, left out: {Path('class 0/1.png')}",)
    (batch,) = data.batches(9)
    np.testing.assert_array_equal(batch.feed["data"], pixels[[0, 2, 3]])
    assert batch.labels[""].tolist() == [0, 1, 1]
    for path in tmp_path.rglob("*.png"):
        path.write_bytes(b"nothing")
    with pytest.raises(DataError, match="none of the 4 images"):
        Dataset.open(tmp_path, images=ImageOptions(skip_broken=True))


def test_what_options_leave_open_goes_by_the_model(tmp_path: Path, image: Any) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    image.fromarray(pixels).save(tmp_path / "0.png")
    image.fromarray(pixels[..., 0]).save(tmp_path / "1.png")

    def bound(*shape: int, dtype: Any = np.float32) -> Any:
        spec = TensorSpec("x", np.dtype(dtype), ("batch", *shape))
        data = Dataset.open(tmp_path, inputs=[spec])
        (batch,) = data.batches(2)
        return batch.feed["x"], data.notes

    for shape in ((9, 7, 3), (3, 9, 7), (5, 5, 3), (9, 7, 1), (9, 7, 4)):
        found, notes = bound(*shape)
        assert found.shape == (2, *shape)
        assert any("resized to 5x5" in note for note in notes) == (shape == (5, 5, 3))
    np.testing.assert_array_equal(bound(9, 7, 3)[0][0], pixels)
    np.testing.assert_array_equal(bound(3, 9, 7)[0][0], pixels.transpose(2, 0, 1))
    whole, _ = bound(5, 5, 3, dtype=np.uint8)
    np.testing.assert_array_equal(whole, np.rint(bound(5, 5, 3)[0]))


def test_upper_bits_of_sixteen(tmp_path: Path, image: Any) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (6, 5), np.uint16)
    image.fromarray(values).save(tmp_path / "0.png")
    (batch,) = Dataset.open(tmp_path).batches(1)
    np.testing.assert_array_equal(batch.feed["data"][0, ..., 0], values >> 8)


def test_images_that_keras_passes_over_are_told(tmp_path: Path, image: Any) -> None:
    image.new("L", (4, 4)).save(tmp_path / "0.png")
    image.new("L", (4, 4)).save(tmp_path / "1.tiff")
    (note,) = Dataset.open(tmp_path).notes
    assert note.startswith("1 of 2 images (.tiff)")


def test_a_data_set_of_hugging_face_on_disk_is_named(tmp_path: Path) -> None:
    (tmp_path / "dataset_info.json").write_text("{}")
    with pytest.raises(DataError, match=r"Hugging Face data set .*to_parquet"):
        Dataset.open(tmp_path)
