"""How the images of a folder become arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args, get_type_hints

from runtimes.errors import DataError


@dataclass(frozen=True)
class ImageOptions:
    """How images become arrays; by default as ``keras.utils.image_dataset_from_directory`` has it.

    ``size``: height and width that all are brought to; None: what the model takes, or as they are.
    ``fit``: ``stretch`` changes the proportions, ``crop`` cuts off what is beyond those of the
    size, ``pad`` fills up with zeros. ``resampling``: ``bilinear`` mixes the four pixels around
    each place as ``tf.image.resize`` does, and with ``antialias`` averages over all that a new
    pixel covers, as Pillow does; ``nearest``; ``bicubic`` and ``lanczos`` are Pillow's, which
    average, too. ``scale`` and ``offset`` (numbers, or one for each channel) make values of pixel ·
    scale + offset. ``color``: ``auto`` goes by the model, or without one by the first image;
    ``rgb``, ``gray``, ``rgba``. ``channels_first``: [channels, height, width]. ``skip_broken``:
    images that cannot be read are left out, after all have been tried.
    """

    size: tuple[int, int] | None = None
    fit: Literal["stretch", "crop", "pad"] = "stretch"
    resampling: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bilinear"
    scale: float | Sequence[float] | None = None
    offset: float | Sequence[float] | None = None
    color: Literal["auto", "rgb", "gray", "rgba"] = "auto"
    channels_first: bool = False
    antialias: bool = False
    skip_broken: bool = False

    def __post_init__(self) -> None:
        for name in ("fit", "resampling", "color"):
            known = get_args(get_type_hints(ImageOptions)[name])
            if getattr(self, name) not in known:
                raise DataError(
                    f"{name} of images is {', '.join(known)}; not {getattr(self, name)}"
                )
        if self.size is not None and min(self.size) < 1:
            raise DataError(f"the size of images is height and width, not {self.size}")
