"""A model as another process opens it: a path, or the bytes of an ONNX model."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx_ir as ir

from runtimes.errors import ModelError
from runtimes.onnx_files.digest import model_digest
from runtimes.onnx_files.load_save import load_model
from runtimes.onnx_files.sent_bytes import bytes_to_send, model_sent

_CHUNK = 1 << 20


@dataclass(frozen=True)
class SentModel:
    """``path``, or else the ``raw`` bytes of an ONNX model with all its weights."""

    path: str | None = None
    raw: bytes = field(default=b"", repr=False)

    @classmethod
    def of(cls, model: Any, *, far: bool) -> SentModel:
        """What can be sent of ``model``, to another machine if ``far``.

        Raises ``ModelError`` for a model that only this process has, or that is too large.
        """
        if isinstance(model, str | os.PathLike):
            path = Path(model)
            if not far or path.suffix != ".onnx":
                return cls(str(path.absolute()))
            model = load_model(path)
        if not isinstance(model, ir.Model):
            raise ModelError(
                f"a {type(model).__name__} cannot be sent to workers; give the path of the model"
            )
        return cls(raw=bytes_to_send(model, "compare with --shard, where its file is"))

    def open(self) -> str | ir.Model:
        """What ``open_runtime`` takes."""
        return model_sent(self.raw) if self.path is None else self.path

    def digest(self) -> str:
        """SHA-256 of what the model is, in hexadecimal."""
        model = self.open()
        if isinstance(model, str) and not model.endswith(".onnx"):
            return _digest_of_files(Path(model))
        return model_digest(load_model(model))


def _digest_of_files(path: Path) -> str:
    """Of a file, or of all in a folder, by name."""
    digest = hashlib.sha256()
    for one in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if one.is_file():
            digest.update(str(one.relative_to(path)).encode())
            with one.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
    return digest.hexdigest()
