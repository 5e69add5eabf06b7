"""Layers that move, crop, pad or repeat."""

from __future__ import annotations

from typing import Any

from layer_cases.case import Case, Given, case


def cases() -> list[Case]:
    return [*_shapes(), *_cropping(), *_padding(), *_upsampling()]


def _shapes() -> list[Case]:
    return [
        case("Flatten", (8,)),
        case("Flatten", (6, 8)),
        case("Flatten", (4, 5, 3)),
        case("Flatten", (3, 4, 5), data_format="channels_first"),
        case("Flatten", (), variant="scalar"),
        case("Flatten", Given((None, 3), dynamic=(4,)), variant="dynamic"),
        case("Reshape", (6, 8), target_shape=(8, 6)),
        case("Reshape", (6, 8), target_shape=(-1, 4)),
        case("Reshape", (6, 8), target_shape=(4, -1, 2)),
        case("Reshape", Given((None, 8), dynamic=(5,)), target_shape=(-1, 2, 4), variant="dynamic"),
        case("Permute", (4, 5, 6), dims=(3, 1, 2)),
        case("Permute", (5, 6), dims=(2, 1)),
        case("RepeatVector", (8,), n=3),
    ]


def _cropping() -> list[Case]:
    return [
        case("Cropping1D", (8, 3), cropping=(1, 2)),
        case("Cropping1D", (8, 3), cropping=(0, 2)),
        case("Cropping2D", (8, 9, 3), cropping=((1, 2), (0, 3))),
        case("Cropping2D", (8, 9, 3), cropping=1),
        case("Cropping2D", (3, 8, 9), cropping=((1, 2), (0, 3)), data_format="channels_first"),
        case(
            "Cropping2D",
            Given((None, None, 3), dynamic=(8, 9)),
            cropping=((1, 2), (0, 3)),
            variant="dynamic",
        ),
        case("Cropping3D", (6, 7, 8, 2), cropping=((1, 2), (0, 3), (2, 0))),
        case("Cropping3D", (2, 6, 7, 8), cropping=1, data_format="channels_first"),
    ]


def _padding() -> list[Case]:
    return [
        case("ZeroPadding1D", (6, 3), padding=2),
        case("ZeroPadding1D", (6, 3), padding=(0, 2)),
        case("ZeroPadding1D", (3, 6), padding=(1, 2), data_format="channels_first"),
        case("ZeroPadding2D", (6, 5, 3), padding=((1, 2), (0, 3))),
        case("ZeroPadding2D", (6, 5, 3), padding=1),
        case("ZeroPadding2D", (3, 6, 5), padding=((1, 2), (0, 3)), data_format="channels_first"),
        case(
            "ZeroPadding2D",
            Given((None, None, 3), dynamic=(6, 5)),
            padding=((1, 2), (0, 3)),
            variant="dynamic",
        ),
        case("ZeroPadding3D", (4, 5, 6, 2), padding=((1, 2), (0, 3), (2, 0))),
        case("ZeroPadding3D", (2, 4, 5, 6), padding=1, data_format="channels_first"),
    ]


def _upsampling() -> list[Case]:
    found: list[Case] = [
        case("UpSampling1D", (5, 3)),
        case("UpSampling1D", (5, 3), size=3),
        case("UpSampling1D", Given((None, 3), dynamic=(4,)), variant="dynamic"),
        case("UpSampling3D", (3, 4, 5, 2)),
        case("UpSampling3D", (3, 4, 5, 2), size=(1, 2, 3)),
        case("UpSampling3D", (2, 3, 4, 5), data_format="channels_first"),
    ]
    for interpolation in ("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5"):
        variants: list[dict[str, Any]] = [{}, {"size": (2, 3)}]
        found += [
            case("UpSampling2D", (4, 5, 3), interpolation=interpolation, **v) for v in variants
        ]
        found.append(
            case(
                "UpSampling2D", (3, 4, 5), interpolation=interpolation, data_format="channels_first"
            )
        )
    for interpolation in ("nearest", "bilinear"):
        found.append(
            case(
                "UpSampling2D",
                Given((None, None, 3), dynamic=(4, 5)),
                interpolation=interpolation,
                variant=f"dynamic_{interpolation}",
            )
        )
    return found
