"""Ways to damage a file or a folder: by its bytes, and by what it means."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fuzz_arrays import damaged_image, damaged_npy, damaged_npz
from fuzz_models import damaged_model

Damage = Callable[[bytes, random.Random], bytes]

_FOLDERS = 0.3
"""How often a folder is damaged as one, and not a file in it."""


def damage(path: Path, rng: random.Random) -> None:
    """Damage a file, or a folder: one file in it, or what it holds."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        if rng.random() < _FOLDERS:
            rng.choice(_IN_FOLDERS)(path, files, rng)
            return
        path = rng.choice(files)
    kinds = _BY_MEANING.get(path.suffix, ())
    change = rng.choice(kinds) if kinds and rng.random() < 0.75 else rng.choice(_BYTES)
    path.write_bytes(change(path.read_bytes(), rng))


def flip_bits(raw: bytes, rng: random.Random) -> bytes:
    """Change a few bits."""
    damaged = bytearray(raw)
    for _ in range(rng.choice((1, 1, 2, 8, 64)) if raw else 0):
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def cut_off(raw: bytes, rng: random.Random) -> bytes:
    """Lose the end."""
    return raw[: rng.randrange(len(raw) + 1)]


def overwrite(raw: bytes, rng: random.Random) -> bytes:
    """Replace, remove or repeat a stretch of bytes."""
    start = rng.randrange(len(raw) + 1)
    stop = min(len(raw), start + rng.choice((1, 4, 32, 512)))
    piece = rng.choice((b"", bytes(stop - start), rng.randbytes(stop - start), raw[start:stop] * 2))
    return raw[:start] + piece + raw[stop:]


def _other(raw: bytes, rng: random.Random) -> bytes:
    """Something else altogether."""
    pickled = b"\x80\x04\x95\x0b\0\0\0\0\0\0\0\x8c\x07nothing\x94."
    return rng.choice(
        (b"", b"\0" * 4096, b"PK\x03\x04", b"\x89HDF\r\n\x1a\n", b"\n", raw * 2, pickled)
    )


def _report(raw: bytes, rng: random.Random) -> bytes:
    """Replace, remove or add a value in a JSON document, at any depth."""
    document = json.loads(raw)
    holder: Any = document
    while True:
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        if not keys:
            return json.dumps([]).encode()
        key = rng.choice(keys)
        if not isinstance(holder[key], dict | list) or rng.random() < 0.2:
            break
        holder = holder[key]
    kind = rng.randrange(8)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, list):
        holder.append(holder[key])
    elif kind == 2 and isinstance(holder, dict):
        holder[rng.choice(("", "more", "../x", "a" * 5000))] = holder[key]
    else:
        holder[key] = rng.choice(_JSON)
    return json.dumps(document).encode()


_JSON = (
    *(None, True, False, -1, 0, 2**63, 10**400, 0.5, float("nan"), float("inf"), -1e308),
    *("", "x", "NaN", "../x", "/etc/passwd", "\0", "\ud800", "a" * 5000),
    *([], {}, [[]], {"a": []}, [None], [1, 2, 3]),
)


def _nested(raw: bytes, rng: random.Random) -> bytes:
    del raw
    return rng.choice((b"[", b'{"a":')) * rng.choice((10, 100_000))


def _swap(folder: Path, files: list[Path], rng: random.Random) -> None:
    one, other = rng.choice(files), rng.choice(files)
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


def _lose(folder: Path, files: list[Path], rng: random.Random) -> None:
    rng.choice(files).unlink()


def _empty(folder: Path, files: list[Path], rng: random.Random) -> None:
    inner = [path for path in folder.rglob("*") if path.is_dir()]
    chosen = rng.choice([folder, *inner])
    shutil.rmtree(chosen)
    chosen.mkdir()


def _become_folder(folder: Path, files: list[Path], rng: random.Random) -> None:
    path = rng.choice(files)
    path.unlink()
    path.mkdir()


def _become_link(folder: Path, files: list[Path], rng: random.Random) -> None:
    path = rng.choice(files)
    path.unlink()
    path.symlink_to(rng.choice((path.name, "/etc/passwd", "nobody", ".", rng.choice(files))))


def _gain(folder: Path, files: list[Path], rng: random.Random) -> None:
    path = rng.choice(files)
    name = rng.choice((".hidden", "more.onnx", f"a{path.suffix}", "new\nline", "kilnx-store.json"))
    (path.parent / name).write_bytes(path.read_bytes())


_IN_FOLDERS = (_swap, _swap, _lose, _lose, _empty, _become_folder, _become_link, _gain)
_BYTES = (flip_bits, flip_bits, cut_off, overwrite, overwrite, _other)
_BY_MEANING: dict[str, tuple[Damage, ...]] = {
    ".json": (_report, _report, _report, _report, _report, _nested),
    ".onnx": (damaged_model,),
    ".npy": (damaged_npy,),
    ".npz": (damaged_npz,),
    ".png": (damaged_image,),
}
