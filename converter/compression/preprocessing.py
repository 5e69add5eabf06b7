"""What becomes of images before the model, next to what the model does to them itself."""

from __future__ import annotations

from collections.abc import Sequence

from runtimes.data.dataset import Dataset


def notes_of_preprocessing(data: Dataset, scaling: Sequence[str]) -> tuple[str, ...]:
    """What a user should know of the scale of a folder's images; ``scaling``: the model's own."""
    images = data.images
    if images is None:
        return ()
    scaled = images.scale is not None or images.offset is not None
    if scaling and scaled:
        return (
            f"the model scales its inputs itself ({'; '.join(scaling)}), and the images of "
            f"{data.name} are scaled before that: is --image-scale one too many?",
        )
    if not scaling and not scaled:
        return (
            f"the model has no layer that scales its inputs, and takes the pixels of {data.name} "
            "as they are, 0…255: if training scaled them before the model, say how with "
            "--image-scale and --image-offset",
        )
    return ()
