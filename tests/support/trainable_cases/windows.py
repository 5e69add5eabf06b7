"""Convolutions, pools, resizing and sampling: what moves over spatial axes."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
from trainable_cases.case import Case, case, distinct, floats, ints

IMAGES = floats(2, 4, 7, 8)
SERIES = floats(2, 4, 9)
SPACES = floats(2, 2, 4, 5, 6)


def cases() -> list[Case]:
    """All of them."""
    return [*_convolutions(), *_transposed(), *_pools(), *_resizes(), *_samples()]


def _convolutions() -> list[Case]:
    kernel, bias = floats(6, 4, 3, 3), floats(6)
    found = [
        case("Conv", IMAGES, kernel),
        case("Conv", IMAGES, kernel, bias, pads=[1, 0, 2, 1], strides=[2, 1]),
        case("Conv", IMAGES, kernel, bias, dilations=[2, 1], strides=[2, 2], pads=[2, 2, 2, 2]),
        case("Conv", IMAGES, floats(6, 2, 3, 2), group=2, strides=[2, 3]),
        case("Conv", IMAGES, floats(4, 1, 3, 3), floats(4), group=4, pads=[1, 1, 1, 1]),
        case("Conv", IMAGES, floats(8, 1, 3, 3), group=4, strides=[2, 2], pads=[1, 1, 1, 1]),
        case("Conv", IMAGES, floats(4, 1, 3, 3), group=4, strides=[2, 1], dilations=[1, 2]),
        case("Conv", IMAGES, kernel, auto_pad="VALID", strides=[2, 2]),
        case("Conv", SERIES, floats(5, 4, 3), floats(5), pads=[2, 0], opset=11),
        case("Conv", SERIES, floats(4, 1, 3), group=4, strides=[2], pads=[1, 1]),
        case("Conv", SERIES, floats(6, 2, 3), group=2, dilations=[3]),
        case("Conv", SPACES, floats(3, 2, 2, 3, 2), floats(3), pads=[1, 0, 0, 0, 1, 1]),
        case("Conv", SPACES, floats(4, 1, 2, 2, 2), group=2, strides=[2, 1, 2]),
        case("Conv", SPACES, floats(3, 2, 2, 2, 2), dilations=[2, 1, 1], strides=[2, 2, 1]),
    ]
    for how, strides in product(("SAME_UPPER", "SAME_LOWER"), ([1, 1], [2, 3])):
        found.append(case("Conv", IMAGES, kernel, auto_pad=how, strides=strides))
        found.append(case("Conv", IMAGES, floats(6, 4, 2, 4), auto_pad=how, strides=strides))
    return found


def _transposed() -> list[Case]:
    kernel, bias = floats(4, 3, 3, 3), floats(3)
    return [
        case("ConvTranspose", IMAGES, kernel),
        case("ConvTranspose", IMAGES, kernel, bias, strides=[2, 3], pads=[1, 0, 0, 2]),
        case("ConvTranspose", IMAGES, kernel, strides=[2, 2], output_padding=[1, 1]),
        case("ConvTranspose", IMAGES, kernel, strides=[3, 4], output_padding=[2, 3]),
        case("ConvTranspose", IMAGES, kernel, strides=[2, 2], output_shape=[14, 16]),
        case("ConvTranspose", IMAGES, kernel, strides=[2, 2], auto_pad="SAME_UPPER"),
        case("ConvTranspose", IMAGES, kernel, strides=[2, 2], auto_pad="SAME_LOWER"),
        case("ConvTranspose", IMAGES, kernel, dilations=[2, 1]),
        case("ConvTranspose", IMAGES, floats(4, 2, 2, 3), floats(4), group=2, strides=[2, 1]),
        case("ConvTranspose", IMAGES, floats(4, 1, 3, 3), group=4, strides=[2, 2]),
        case("ConvTranspose", SERIES, floats(4, 3, 3), floats(3), strides=[2], pads=[1, 0]),
        case("ConvTranspose", SPACES, floats(2, 3, 2, 2, 2), strides=[2, 1, 2]),
    ]


def _pools() -> list[Case]:
    spread = distinct(2, 4, 7, 8)
    found = []
    for name in ("MaxPool", "AveragePool", "LpPool"):
        square = {"kernel_shape": [3, 3]}
        found += [
            case(name, spread, kernel_shape=[2, 3]),
            case(name, spread, **square, strides=[2, 2], pads=[1, 1, 1, 0]),
            case(name, spread, **square, strides=[2, 3], auto_pad="SAME_UPPER"),
            case(name, spread, **square, strides=[2, 3], auto_pad="SAME_LOWER"),
            case(name, spread, **square, auto_pad="VALID", opset=11),
            case(name, distinct(2, 4, 9), kernel_shape=[2], strides=[2]),
            case(name, distinct(2, 2, 4, 5, 6), kernel_shape=[2, 3, 2], strides=[2, 2, 1]),
        ]
        found += [
            case(name, spread, **square, strides=[2, 2], ceil_mode=1, opset=19),
            case(name, spread, **square, strides=[3, 3], pads=[1, 1, 1, 1], ceil_mode=1),
            case(name, spread, kernel_shape=[2, 2], strides=[3, 3], ceil_mode=1),
            case(name, spread, **square, dilations=[2, 2], opset=19),
            case(name, spread, **square, dilations=[1, 2], strides=[2, 2], opset=19),
        ]
    counted: dict[str, Any] = {"kernel_shape": [3, 3], "count_include_pad": 1}
    found += [
        case("AveragePool", spread, **counted, pads=[1, 1, 1, 1]),
        case("AveragePool", spread, **counted, pads=[1, 0, 1, 2], strides=[2, 2]),
        case("AveragePool", spread, **counted, pads=[1, 1, 1, 1], strides=[3, 3], ceil_mode=1),
        case("LpPool", spread, kernel_shape=[2, 2], p=1),
        case("LpPool", spread, kernel_shape=[2, 2], p=3),
        case("GlobalLpPool", spread),
        case("GlobalLpPool", spread, p=3),
    ]
    for name in ("GlobalAveragePool", "GlobalMaxPool"):
        found += [case(name, distinct(*x.shape)) for x in (spread, SERIES, SPACES)]
    return found


def _resizes() -> list[Case]:
    empty = np.zeros(0, np.float32)
    coordinates = ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
    scales = [
        np.array(numbers, np.float32) for numbers in ([1, 1, 2, 3], [1, 1, 0.6, 1.3], [1, 1, 2, 1])
    ]
    found = []
    for mode, how in product(("nearest", "linear", "cubic"), coordinates):
        rule = {"mode": mode, "coordinate_transformation_mode": how}
        one = _resized(scales[len(found) // 2 % 2], None, **rule)
        other = _resized(None, ints(2, 4, 5, 13), **rule)
        # Other places are read, but in the same way.
        found += [one, replace(other, differentiable=how == "asymmetric")]
    for rounding in ("floor", "ceil", "round_prefer_ceil", "round_prefer_floor"):
        for how in coordinates[:2]:
            rule = {"nearest_mode": rounding, "coordinate_transformation_mode": how}
            one = _resized(scales[0], None, mode="nearest", **rule)
            found.append(replace(one, differentiable=False))
    found += [
        _resized(scales[2], None, mode="nearest", opset=11),
        _resized(scales[1], None, mode="cubic", exclude_outside=1, cubic_coeff_a=-0.5),
        _resized(
            None, ints(2, 4, 1, 3), mode="linear", coordinate_transformation_mode="align_corners"
        ),
        _resized(np.array([2, 3], np.float32), None, mode="linear", axes=[2, 3]),
        _resized(None, ints(9, 9), mode="nearest", axes=[-1, 2], opset=19),
        _resized(
            np.array([1, 1, 1.4, 1.4], np.float32),
            None,
            mode="linear",
            coordinate_transformation_mode="half_pixel_symmetric",
            opset=19,
        ),
    ]
    found = [
        replace(
            one,
            arrays=tuple(empty if a is None and p == 1 else a for p, a in enumerate(one.arrays)),
        )
        if one.opset < 13
        else one
        for one in found
    ]
    for mode in ("nearest", "linear"):
        found.append(_fixed(case("Resize", IMAGES, scales[0], mode=mode, opset=10)))
        found.append(_fixed(case("Upsample", IMAGES, scales[0], mode=mode, opset=9)))
        found.append(case("Upsample", IMAGES, mode=mode, opset=8, scales=[1.0, 1.0, 2.0, 3.0]))
    return found


def _resized(scales: Any, sizes: Any, *, opset: int = 18, **attributes: Any) -> Case:
    made = case("Resize", IMAGES, None, scales, sizes, opset=opset, **attributes)
    return _fixed(replace(made, tolerance=1e-5))


def _fixed(made: Case) -> Case:
    return replace(made, constant=frozenset(range(1, len(made.arrays))))


def _samples() -> list[Case]:
    grid = (1.3 * np.tanh(floats(2, 5, 6, 2))).astype(np.float32)
    found = []
    for mode, padding, aligned in product(
        ("bilinear", "nearest"), ("zeros", "border", "reflection"), (1,)
    ):
        made = case(
            "GridSample", IMAGES, grid, mode=mode, padding_mode=padding, align_corners=aligned
        )
        found.append(replace(made, tolerance=1e-5, differentiable=padding != "border"))
    return [*found, case("GridSample", IMAGES, grid, opset=20)]
