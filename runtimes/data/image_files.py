"""The images of a folder in the order in which Keras reads them, and their classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from runtimes.base import Array
from runtimes.errors import DataError

ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}
# What keras.utils.image_dataset_from_directory reads; it passes over the others.
_OF_KERAS = {".png", ".jpg", ".jpeg", ".bmp", ".gif"}


def image_paths(folder: Path) -> list[Path]:
    """All images below ``folder``: class by class, in each folder by folder, in each by name.

    That is the order of ``keras.utils.image_dataset_from_directory(shuffle=False)``.
    """
    found = [
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in ENDINGS
        and not path.name.startswith(".")
        and not path.relative_to(folder).parts[0].startswith(".")
        and path.is_file()
    ]
    if not found:
        raise DataError(f"{folder} holds no images ({', '.join(sorted(ENDINGS))})")
    return sorted(found, key=lambda path: _place(path, folder))


def class_labels(folder: Path, paths: list[Path]) -> Array | None:
    """The class of every image, which is the place of its subfolder among all of them; or None.

    A subfolder without images is a class, too. Raises ``DataError`` for images next to subfolders
    that hold some.
    """
    nested = [len(path.relative_to(folder).parts) > 1 for path in paths]
    if not any(nested):
        return None
    if not all(nested):
        stray = paths[nested.index(False)]
        raise DataError(
            f"{folder} has images in subfolders (classes) and next to them ({stray.name}); "
            "put every image into its class's folder, or all into one folder"
        )
    names = sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    classes = {name: place for place, name in enumerate(names)}
    return np.array([classes[path.relative_to(folder).parts[0]] for path in paths], np.int64)


def unknown_to_keras(paths: list[Path]) -> tuple[str, ...]:
    """A note on images that were no part of a training by ``image_dataset_from_directory``."""
    others = [path for path in paths if path.suffix.lower() not in _OF_KERAS]
    if not others:
        return ()
    endings = ", ".join(sorted({path.suffix.lower() for path in others}))
    return (
        f"{len(others)} of {len(paths)} images ({endings}) are ones that Keras' "
        "image_dataset_from_directory passes over",
    )


def _place(path: Path, folder: Path) -> tuple[str, str, str]:
    parts = path.relative_to(folder).parts
    return (parts[0] if len(parts) > 1 else ""), str(path.parent), path.name
