"""Image preprocessing and augmentation: augmentation does nothing at inference."""

from __future__ import annotations

from typing import Any

from layer_cases.case import Case, Given, case, integers, uniform

IMAGE = Given((12, 14, 3), "float32", uniform(0, 255))
SQUARE = Given((12, 12, 3), "float32", uniform(0, 255))
FIRST = Given((3, 12, 14), "float32", uniform(0, 255))
BYTES = Given((12, 14, 3), "uint8", integers(256))

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5", "area")


def cases() -> list[Case]:
    return [*_resizing(), *_cropping(), *_values(), *_augmentation(), *_boxes()]


def _resizing() -> list[Case]:
    found = []
    for interpolation in INTERPOLATIONS:
        up = {"height": 19, "width": 25, "interpolation": interpolation}
        down = {"height": 5, "width": 6, "interpolation": interpolation}
        found += [case("Resizing", IMAGE, **up), case("Resizing", IMAGE, **down)]
        found.append(case("Resizing", IMAGE, **down, antialias=True))
        found.append(case("Resizing", FIRST, **up, data_format="channels_first"))
    small: dict[str, Any] = {"height": 5, "width": 6}
    return [
        *found,
        case("Resizing", IMAGE, height=24, width=28, interpolation="area", variant="area_double"),
        case("Resizing", IMAGE, **small, crop_to_aspect_ratio=True),
        case("Resizing", IMAGE, **small, pad_to_aspect_ratio=True, fill_value=7.0),
        case("Resizing", BYTES, **small, variant="uint8"),
        case(
            "Resizing",
            Given((None, None, 3), draw=uniform(0, 255), dynamic=(10, 12)),
            **small,
            variant="dynamic",
        ),
        case(
            "Resizing",
            Given((None, None, 3), draw=uniform(0, 255), dynamic=(10, 12)),
            **small,
            antialias=True,
            variant="dynamic_antialias",
        ),
        case(
            "Resizing",
            Given((None, None, 3), draw=uniform(0, 255), dynamic=(10, 12)),
            **small,
            interpolation="bicubic",
            variant="dynamic_bicubic",
        ),
    ]


def _cropping() -> list[Case]:
    return [
        case("CenterCrop", IMAGE, height=8, width=6),
        case("CenterCrop", IMAGE, height=7, width=5),
        case("CenterCrop", IMAGE, height=20, width=18),
        case("CenterCrop", FIRST, height=8, width=6, data_format="channels_first"),
        case(
            "CenterCrop",
            Given((None, None, 3), draw=uniform(0, 255), dynamic=(12, 14)),
            height=8,
            width=6,
            variant="dynamic",
        ),
        case("RandomCrop", IMAGE, height=8, width=6),
        case("RandomCrop", IMAGE, height=20, width=18),
        case("RandomCrop", FIRST, height=8, width=6, data_format="channels_first"),
    ]


def _values() -> list[Case]:
    return [
        case("Rescaling", IMAGE, scale=1 / 255.0),
        case("Rescaling", IMAGE, scale=1 / 127.5, offset=-1.0),
        case("Rescaling", IMAGE, scale=[0.5, 1.0, 2.0], offset=[1.0, 2.0, 3.0]),
        case("Rescaling", BYTES, scale=1 / 255.0, variant="uint8"),
        case("AutoContrast", IMAGE),
        case("AutoContrast", Given((12, 14, 3), draw=uniform(0, 1)), value_range=(0, 1)),
        # In a functional model of its own Keras takes it for a cycle: it gives its input back.
        case(
            "Equalization",
            IMAGE,
            variant="in_pipeline",
            make=lambda keras: keras.layers.Pipeline([keras.layers.Equalization()]),
        ),
        case("ContrastLimitedAdaptiveHistogramEqualization", IMAGE),
        case("Solarization", IMAGE, addition_factor=0.2, threshold_factor=0.4),
        case(
            "Pipeline",
            IMAGE,
            variant="rescale_crop",
            make=lambda keras: keras.layers.Pipeline(
                [keras.layers.Rescaling(1 / 255.0), keras.layers.CenterCrop(8, 6)]
            ),
        ),
    ]


def _augmentation() -> list[Case]:
    found = [
        case("AugMix", IMAGE),
        case("CutMix", IMAGE),
        case("MixUp", IMAGE),
        case("RandAugment", IMAGE),
        case("RandomBrightness", IMAGE, factor=0.2),
        case("RandomColorDegeneration", IMAGE, factor=0.2),
        case("RandomColorJitter", IMAGE, brightness_factor=0.2, hue_factor=0.1),
        case("RandomContrast", IMAGE, factor=0.2),
        case("RandomElasticTransform", IMAGE),
        case("RandomErasing", IMAGE),
        case("RandomFlip", IMAGE),
        case("RandomFlip", IMAGE, mode="horizontal"),
        case("RandomFlip", BYTES, variant="uint8"),
        case("RandomGaussianBlur", IMAGE),
        case("RandomGrayscale", IMAGE),
        case("RandomHue", IMAGE, factor=0.2),
        case("RandomInvert", IMAGE),
        case("RandomPerspective", IMAGE),
        case("RandomPosterization", IMAGE, factor=4),
        case("RandomRotation", IMAGE, factor=0.2),
        case("RandomRotation", FIRST, factor=0.2, data_format="channels_first"),
        case("RandomSaturation", IMAGE, factor=0.2),
        case("RandomSharpness", IMAGE, factor=0.2),
        case("RandomShear", IMAGE, x_factor=0.2, y_factor=0.1),
        case("RandomTranslation", IMAGE, height_factor=0.2, width_factor=0.1),
        case("RandomZoom", IMAGE, height_factor=0.2),
        case("RandomZoom", IMAGE, height_factor=0.2, fill_mode="constant", interpolation="nearest"),
    ]
    return found


def _boxes() -> list[Case]:
    boxes = Given((4, 4), "float32", uniform(0, 12))
    labels = Given((4,), "float32", integers(5))

    def call(layer, images, boxes, labels):  # type: ignore[no-untyped-def]
        out = layer({"images": images, "bounding_boxes": {"boxes": boxes, "labels": labels}})
        return out["bounding_boxes"]

    def limit(number):  # type: ignore[no-untyped-def]
        return lambda keras: keras.layers.MaxNumBoundingBoxes(number, bounding_box_format="xyxy")

    return [
        case(
            "MaxNumBoundingBoxes", IMAGE, boxes, labels, variant="fewer", make=limit(2), call=call
        ),
        case("MaxNumBoundingBoxes", IMAGE, boxes, labels, variant="more", make=limit(6), call=call),
    ]
