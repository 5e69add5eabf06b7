"""Names of classes: from a file, from a list with commas, or from the data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from runtimes.base import TensorSpec
from runtimes.data.dataset import Dataset
from runtimes.errors import DataError


def read_labels(text: str) -> tuple[str, ...]:
    """The names in a file (one a line, or a list in JSON), or between commas.

    Raises ``DataError`` for a file that holds neither.
    """
    path = Path(text)
    if not path.is_file():
        return tuple(name.strip() for name in text.split(","))
    try:
        content = path.read_text(encoding="utf-8")
        if not content.lstrip().startswith("["):
            return tuple(content.splitlines())
        names = json.loads(content)
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read as labels: {error}") from error
    if not all(isinstance(name, str) for name in names):
        raise DataError(f"{path} is a list that holds something else than names")
    return tuple(names)


def labels_of(data: Dataset) -> tuple[str, ...]:
    """The names of the classes, where the data have one column of labels that are names."""
    columns = list(data.class_names.values())
    return columns[0] if len(columns) == 1 else ()


def check_labels(labels: Sequence[str], outputs: Sequence[TensorSpec]) -> None:
    """Raise ``DataError`` unless some output may have so many classes; one number decides two."""
    sizes = [spec.shape[-1] if spec.shape else None for spec in outputs]
    fits = any(
        not isinstance(size, int) or size == len(labels) or (size, len(labels)) == (1, 2)
        for size in sizes
    )
    if labels and not fits:
        listed = ", ".join(f"{spec}" for spec in outputs)
        raise DataError(
            f"there are {len(labels)} labels, and no output has so many classes: {listed}"
        )
