"""Convolutions: padding, strides, dilation, groups, layout; plain, transposed, separable."""

from __future__ import annotations

from typing import Any

from layer_cases.case import Case, Given, case


def cases() -> list[Case]:
    return [
        *_plain(),
        *_transposed(),
        *_depthwise(),
        *_separable(),
    ]


def _image(dims: int, channels: int, size: int = 9) -> tuple[int, ...]:
    """A shape with unequal sides."""
    return (*range(size, size - dims, -1), channels)


def _first(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (shape[-1], *shape[:-1])


def _plain() -> list[Case]:
    found = []
    for dims in (1, 2, 3):
        layer = f"Conv{dims}D"
        shape = _image(dims, 4, 9 if dims < 3 else 7)
        variants: list[dict[str, Any]] = [
            {},
            {"padding": "same"},
            {"strides": 2},
            {"strides": 2, "padding": "same"},
            {"dilation_rate": 2, "padding": "same"},
            {"dilation_rate": 2},
            {"groups": 2},
            {"groups": 4, "padding": "same"},
            {"use_bias": False, "activation": "relu"},
        ]
        found += [case(layer, shape, filters=8, kernel_size=3, **v) for v in variants]
        found.append(case(layer, shape, filters=8, kernel_size=2, padding="same"))
        found.append(case(layer, shape, filters=8, kernel_size=1))
        for v in ({}, {"padding": "same", "strides": 2}, {"dilation_rate": 2}, {"groups": 2}):
            found.append(
                case(
                    layer,
                    _first(shape),
                    filters=8,
                    kernel_size=3,
                    data_format="channels_first",
                    **v,
                )
            )
    sides: list[dict[str, Any]] = [
        {"kernel_size": (3, 2), "strides": (2, 1), "padding": "same"},
        {"kernel_size": (1, 5)},
        {"kernel_size": 3, "dilation_rate": (1, 3)},
    ]
    found += [case("Conv2D", _image(2, 4), filters=8, **v) for v in sides]
    found += [
        case("Conv1D", (9, 4), filters=8, kernel_size=3, padding="causal"),
        case("Conv1D", (9, 4), filters=8, kernel_size=3, padding="causal", dilation_rate=4),
        case("Conv1D", (9, 4), filters=8, kernel_size=3, padding="causal", strides=2),
        case("Conv1D", (9, 4), filters=8, kernel_size=3, padding="causal", groups=2),
        case(
            "Conv1D",
            Given((None, 4), dynamic=(10,)),
            filters=8,
            kernel_size=3,
            padding="causal",
            dilation_rate=2,
            variant="dynamic_causal",
        ),
        case(
            "Conv1D",
            Given((None, 4), dynamic=(10,)),
            filters=8,
            kernel_size=3,
            padding="same",
            strides=2,
            variant="dynamic_same",
        ),
        case(
            "Conv2D",
            Given((None, None, 4), dynamic=(9, 8)),
            filters=8,
            kernel_size=3,
            padding="same",
            strides=2,
            variant="dynamic_same",
        ),
        case(
            "Conv2D",
            Given((None, None, 4), dynamic=(9, 8)),
            filters=8,
            kernel_size=3,
            variant="dynamic_valid",
        ),
        case(
            "Conv2D",
            Given((None, None, 4), dynamic=(9, 8)),
            filters=8,
            kernel_size=3,
            padding="same",
            dilation_rate=2,
            variant="dynamic_dilated",
        ),
        case(
            "Conv1D",
            Given((None, 4), dynamic=(9,)),
            filters=8,
            kernel_size=3,
            padding="same",
            dilation_rate=2,
            variant="dynamic_dilated",
        ),
        case(
            "Conv3D",
            Given((None, None, None, 4), dynamic=(7, 6, 5)),
            filters=8,
            kernel_size=2,
            padding="same",
            dilation_rate=2,
            variant="dynamic_dilated",
        ),
        case(
            "Conv3D",
            Given((None, None, None, 4), dynamic=(7, 6, 5)),
            filters=8,
            kernel_size=3,
            padding="same",
            strides=2,
            variant="dynamic_same",
        ),
        case(
            "Conv2D",
            _image(2, 4),
            filters=8,
            kernel_size=3,
            dtype="mixed_float16",
            variant="mixed_float16",
            tolerance=1e-2,
        ),
        case("Conv2D", _image(2, 32), filters=64, kernel_size=3, variant="large"),
    ]
    return found


def _transposed() -> list[Case]:
    found = []
    for dims in (1, 2, 3):
        layer = f"Conv{dims}DTranspose"
        shape = _image(dims, 3, 6 if dims < 3 else 4)
        variants: list[dict[str, Any]] = [
            {},
            {"padding": "same"},
            {"strides": 2},
            {"strides": 2, "padding": "same"},
            {"strides": 2, "padding": "same", "output_padding": 1},
            {"strides": 2, "output_padding": 1},
        ]
        if dims < 3:  # TensorFlow has no dilated transposed convolution in 3-D on the CPU
            variants.append({"dilation_rate": 2})
            variants.append({"dilation_rate": 2, "padding": "same"})
        found += [case(layer, shape, filters=5, kernel_size=3, **v) for v in variants]
        found.append(case(layer, shape, filters=5, kernel_size=2, strides=2))
        found.append(case(layer, shape, filters=5, kernel_size=2, strides=3))
        found.append(
            case(
                layer,
                shape,
                filters=5,
                kernel_size=4,
                strides=2,
                padding="same",
                use_bias=False,
                activation="relu",
            )
        )
        for v in ({}, {"strides": 2}, {"strides": 2, "padding": "same"}):
            found.append(
                case(
                    layer,
                    _first(shape),
                    # As many filters as columns, and Keras adds the bias to the columns.
                    filters=5 if dims < 3 else 6,
                    kernel_size=3,
                    data_format="channels_first",
                    **v,
                )
            )
    found += [
        case(
            "Conv2DTranspose",
            (6, 5, 3),
            filters=5,
            kernel_size=(3, 2),
            strides=(1, 2),
            padding="same",
        ),
        case(
            "Conv2DTranspose",
            Given((None, None, 3), dynamic=(6, 5)),
            filters=5,
            kernel_size=3,
            strides=2,
            padding="same",
            variant="dynamic_same",
        ),
        case(
            "Conv1DTranspose",
            Given((None, 3), dynamic=(6,)),
            filters=5,
            kernel_size=3,
            strides=2,
            padding="same",
            variant="dynamic_same",
        ),
        case(
            "Conv2DTranspose",
            Given((None, None, 3), dynamic=(6, 5)),
            filters=5,
            kernel_size=3,
            strides=2,
            variant="dynamic_valid",
        ),
    ]
    return found


def _depthwise() -> list[Case]:
    found = []
    for dims in (1, 2):
        layer = f"DepthwiseConv{dims}D"
        shape = _image(dims, 4)
        variants: list[dict[str, Any]] = [
            {},
            {"padding": "same"},
            {"strides": 2},
            {"strides": 2, "padding": "same"},
            {"dilation_rate": 2},
            {"dilation_rate": 2, "padding": "same"},
            {"dilation_rate": 2, "strides": 3, "padding": "same"},
            {"depth_multiplier": 2},
            {"use_bias": False, "activation": "relu6"},
        ]
        found += [case(layer, shape, kernel_size=3, **v) for v in variants]
        first = _first(_image(dims, 4, 12))  # TensorFlow mistakes a side of 4 for the channels
        for v in (
            {},
            {"padding": "same", "strides": 2},
            {"padding": "same", "dilation_rate": 2},
            {"depth_multiplier": 2},
        ):
            found.append(case(layer, first, kernel_size=3, data_format="channels_first", **v))
    for layer, sizes in (("DepthwiseConv1D", (9,)), ("DepthwiseConv2D", (9, 8))):
        found.append(
            case(
                layer,
                Given((*[None] * len(sizes), 4), dynamic=sizes),
                kernel_size=3,
                padding="same",
                dilation_rate=2,
                variant="dynamic_dilated",
            )
        )
    found.append(
        case(
            "DepthwiseConv2D",
            Given((None, None, 4), dynamic=(9, 8)),
            kernel_size=3,
            padding="same",
            strides=2,
            variant="dynamic_same",
        )
    )
    return found


def _separable() -> list[Case]:
    found = []
    for dims in (1, 2):
        layer = f"SeparableConv{dims}D"
        shape = _image(dims, 4)
        variants: list[dict[str, Any]] = [
            {},
            {"padding": "same"},
            {"strides": 2},
            {"strides": 2, "padding": "same"},
            {"dilation_rate": 2},
            {"depth_multiplier": 2, "activation": "relu"},
        ]
        found += [case(layer, shape, filters=6, kernel_size=3, **v) for v in variants]
        for v in ({}, {"padding": "same", "strides": 2}):
            found.append(
                case(
                    layer,
                    _first(_image(dims, 4, 12)),
                    filters=6,
                    kernel_size=3,
                    data_format="channels_first",
                    **v,
                )
            )
    return found
