"""``keras.ops.image``."""

from __future__ import annotations

import numpy as np
from op_cases.case import F, OpCase, on_each, op

PICTURE = F("h", "w", 3, low=0.0, high=1.0)
GIVEN = F(9, 8, 3, low=0.0, high=1.0)
TURNED = np.array([0.9, 0.2, 1.0, -0.15, 1.1, -0.5, 0, 0], np.float32)
MODES = ("constant", "nearest", "wrap", "mirror", "reflect")


def cases() -> list[OpCase]:
    return [*_colours(), *_sizes(), *_warps(), *_places(), *_filters()]


def _colours() -> list[OpCase]:
    return [
        *on_each("image.rgb_to_grayscale image.rgb_to_hsv image.hsv_to_rgb", PICTURE),
        *on_each(
            "image.rgb_to_grayscale image.rgb_to_hsv",
            F(3, 9, 8, low=0, high=1),
            data_format="channels_first",
        ),
    ]


def _sizes() -> list[OpCase]:
    found: list[OpCase] = []
    for how in ("bilinear", "nearest", "bicubic", "lanczos3", "lanczos5"):
        for given in (GIVEN, PICTURE):
            found += op(
                "image.resize",
                given,
                size=(5, 14),
                interpolation=how,
                variant="named" if given is PICTURE else "",
            )
        found += op("image.resize", GIVEN, size=(5, 6), interpolation=how, antialias=True)
    found += op("image.resize", PICTURE, size=(6, 6), crop_to_aspect_ratio=True)
    found += op("image.resize", PICTURE, size=(12, 14), pad_to_aspect_ratio=True)
    found += op("image.resize", F(3, 9, 8), size=(5, 14), data_format="channels_first")
    # Sizes of which float32 scales lose a row.
    found += op("image.resize", F(5, 5, 2), size=(9, 9))
    found += op("image.resize", F(5, 5, 2), size=(9, 9), interpolation="nearest")
    pads = {"top_padding": 1, "left_padding": 2, "target_height": 14, "target_width": 16}
    found += op("image.pad_images", PICTURE, **pads)
    found += op(
        "image.pad_images", GIVEN, top_padding=1, bottom_padding=2, left_padding=0, right_padding=3
    )
    found += op(
        "image.crop_images",
        PICTURE,
        top_cropping=1,
        left_cropping=2,
        target_height=5,
        target_width=4,
    )
    found += op(
        "image.crop_images",
        PICTURE,
        top_cropping=1,
        bottom_cropping=2,
        left_cropping=0,
        right_cropping=3,
    )
    found += op(
        "image.scale_and_translate",
        GIVEN,
        F(2, low=0.5, high=1.5),
        F(2, low=-1, high=1),
        call=lambda ops, x, s, t: ops.image.scale_and_translate(
            x[0], (6, 7, 3), s[0], t[0], (0, 1), "linear"
        ),
    )
    return found


def _warps() -> list[OpCase]:
    found: list[OpCase] = []
    # Transforms that differ by sample.
    moved = F(8, low=-0.1, high=0.1)
    corners = F(4, 2, low=-1, high=1)
    start = np.array([[0, 0], [7, 0], [0, 8], [7, 8]], np.float32)
    for how in ("bilinear", "nearest"):
        for mode in ("constant", "nearest", "reflect", "wrap"):
            found += op(
                "image.affine_transform",
                GIVEN,
                moved,
                variant=f"{how},{mode}",
                call=lambda ops, x, t, how=how, mode=mode: ops.image.affine_transform(
                    x, TURNED + t * np.array([1] * 6 + [0] * 2, np.float32), how, mode, 0.5
                ),
            )
        found += op(
            "image.perspective_transform",
            GIVEN,
            corners,
            variant=how,
            call=lambda ops, x, c, how=how: ops.image.perspective_transform(
                x, start + c, start + 0 * c, interpolation=how, fill_value=0.25
            ),
        )
    found += op(
        "image.affine_transform",
        PICTURE,
        moved,
        variant="named",
        call=lambda ops, x, t: ops.image.affine_transform(x, TURNED + t * 0),
    )
    found += op(
        "image.affine_transform",
        F(3, 9, 8),
        moved,
        variant="channels_first",
        call=lambda ops, x, t: ops.image.affine_transform(
            x, TURNED + t * 0, data_format="channels_first"
        ),
    )
    found += op(
        "image.perspective_transform",
        GIVEN,
        variant="constant",
        call=lambda ops, x: ops.image.perspective_transform(
            x, start + np.float32(0.3), start * 0.9
        ),
    )
    return found


def _places() -> list[OpCase]:
    found: list[OpCase] = []
    where = F(2, 6, low=-3, high=11)
    for order in (0, 1):
        for mode in MODES:
            found += op(
                "image.map_coordinates",
                F(9, 8),
                where,
                variant=f"{order},{mode}",
                call=lambda ops, x, c, order=order, mode=mode: ops.image.map_coordinates(
                    x[0], c[0], order, mode, 0.5
                ),
            )
    patches = {"size": (3, 2), "strides": (2, 1)}
    for padding in ("valid", "same"):
        found += op("image.extract_patches", GIVEN, **patches, padding=padding)
        found += op("image.extract_patches", PICTURE, size=3, padding=padding)
    found += op("image.extract_patches_3d", F(6, 6, 4, 2), size=2, strides=2)
    return found


def _filters() -> list[OpCase]:
    return [
        *op("image.gaussian_blur", PICTURE, kernel_size=(3, 3), sigma=(1.0, 0.8)),
        *op("image.sobel_edges", PICTURE),
        *op("image.sobel_edges", F(3, 9, 8), data_format="channels_first"),
        *op("image.ssim", F(16, 16, 3, low=0, high=1), F(16, 16, 3, low=0, high=1), max_val=1.0),
        # Of a batch of unknown size, Keras draws one displacement for all and returns one image.
        *op(
            "image.elastic_transform",
            GIVEN,
            call=lambda ops, x: ops.image.elastic_transform(x[0], seed=3),
        ),
    ]
