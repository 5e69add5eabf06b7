"""A sample of a model's inputs as HTML: a picture, a series or text."""

from __future__ import annotations

import struct
import zlib
from base64 import b64encode
from collections.abc import Mapping
from html import escape

import numpy as np

from runtimes.base import Array

_SHOWN_TEXT = 200
_SHOWN_VALUES = 8
_LONGEST_SERIES = 400
_LARGEST_SIDE = 96


def sample_html(inputs: Mapping[str, Array], description: str) -> str:
    """The inputs of one sample, each [the shape of a sample]; ``description`` is read aloud."""
    return "".join(_shown(array, f"{description}, {name}") for name, array in inputs.items())


def _shown(array: Array, description: str) -> str:
    if array.dtype.kind in "OUS":
        text = " ".join(str(one) for one in array.reshape(-1))
        return f"<q>{escape(_short(text, _SHOWN_TEXT))}</q>"
    pixels = _pixels(array)
    if pixels is not None:
        data = b64encode(png(pixels)).decode()
        return f'<img alt="{escape(description)}" src="data:image/png;base64,{data}">'
    values = array.astype(np.float64)
    if array.dtype.kind == "f" and array.ndim in (1, 2) and len(array) > _SHOWN_VALUES:
        return _series(values.reshape(len(array), -1), description)
    texts = [f"{value:.4g}" for value in values.reshape(-1)[:_SHOWN_VALUES]]
    return f"<q>{escape(', '.join(texts))}{', …' if array.size > _SHOWN_VALUES else ''}</q>"


def _pixels(array: Array) -> Array | None:
    """Pixels of 0 to 255, [height, width] or [height, width, 3]; None for what is no picture."""
    if array.ndim == 3 and array.shape[0] in (1, 3) and array.shape[-1] not in (1, 3):
        array = np.moveaxis(array, 0, -1)
    if array.ndim != 3 or array.shape[-1] not in (1, 3) or min(array.shape[:2]) < 4:
        return None
    step = max(1, -(-max(array.shape[:2]) // _LARGEST_SIDE))
    values = array[::step, ::step].astype(np.float64)
    low, high = float(values.min()), float(values.max())
    if low >= 0 and high > 1.5:
        low, high = 0.0, max(255.0, high)
    elif low >= 0:
        low, high = 0.0, 1.0
    scaled = (values - low) / ((high - low) or 1.0) * 255
    found = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    return found[..., 0] if found.shape[-1] == 1 else found


def png(pixels: Array) -> bytes:
    """Pixels as a PNG file (ISO/IEC 15948): gray, or red, green and blue, 8 bits each."""
    height, width = pixels.shape[:2]
    rows = pixels.reshape(height, -1)
    filtered = np.concatenate([np.zeros((height, 1), np.uint8), rows], axis=1).tobytes()
    header = struct.pack(">IIBBBBB", width, height, 8, 2 if pixels.ndim == 3 else 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(filtered, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def _series(values: Array, description: str) -> str:
    """Lines over time, three channels at most."""
    values = values[:: max(1, -(-len(values) // _LONGEST_SERIES)), :3]
    low, high = float(values.min()), float(values.max())
    scaled = 38 - (values - low) / ((high - low) or 1.0) * 36
    across = np.linspace(1, 119, len(values))
    drawn = "".join(
        '<polyline class="series" points="'
        + " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(across, channel, strict=True))
        + '"/>'
        for channel in scaled.T
    )
    return (
        f'<svg class="sample" viewBox="0 0 120 40" role="img" aria-label="{escape(description)}">'
        f"<title>{escape(description)}</title>{drawn}</svg>"
    )


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
