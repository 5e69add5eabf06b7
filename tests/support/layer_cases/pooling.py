"""Pooling: windows, global and adaptive, in every layout."""

from __future__ import annotations

from typing import Any

from layer_cases.case import Case, Given, case, masks


def cases() -> list[Case]:
    return [*_windows(), *_global(), *_adaptive()]


def _shape(dims: int, layout: str, size: int = 9) -> tuple[int, ...]:
    sides = tuple(range(size, size - dims, -1))
    return (*sides, 3) if layout == "channels_last" else (3, *sides)


def _windows() -> list[Case]:
    found = []
    for dims in (1, 2, 3):
        for kind in ("Max", "Average"):
            layer = f"{kind}Pooling{dims}D"
            variants: list[dict[str, Any]] = [
                {"pool_size": 2},
                {"pool_size": 2, "padding": "same"},
                {"pool_size": 3, "strides": 2},
                {"pool_size": 3, "strides": 2, "padding": "same"},
                {"pool_size": 3, "strides": 1, "padding": "same"},
            ]
            found += [case(layer, _shape(dims, "channels_last"), **v) for v in variants]
            for v in ({"pool_size": 2}, {"pool_size": 3, "strides": 2, "padding": "same"}):
                found.append(
                    case(layer, _shape(dims, "channels_first"), data_format="channels_first", **v)
                )
    for kind in ("Max", "Average"):
        found.append(case(f"{kind}Pooling2D", (9, 8, 3), pool_size=(2, 3), strides=(1, 2)))
        found.append(
            case(
                f"{kind}Pooling2D",
                Given((None, None, 3), dynamic=(9, 8)),
                pool_size=3,
                strides=2,
                padding="same",
                variant="dynamic_same",
            )
        )
    return found


def _global() -> list[Case]:
    found = []
    for dims in (1, 2, 3):
        for kind in ("Max", "Average"):
            layer = f"Global{kind}Pooling{dims}D"
            found.append(case(layer, _shape(dims, "channels_last", 6)))
            found.append(case(layer, _shape(dims, "channels_last", 6), keepdims=True))
            found.append(
                case(layer, _shape(dims, "channels_first", 6), data_format="channels_first")
            )
    found.append(
        case(
            "GlobalAveragePooling1D",
            (6, 3),
            Given((6,), "bool", masks),
            variant="mask",
            call=lambda layer, x, mask: layer(x, mask=mask),
        )
    )
    found.append(
        case("GlobalAveragePooling2D", Given((None, None, 3), dynamic=(5, 6)), variant="dynamic")
    )
    return found


def _adaptive() -> list[Case]:
    found = []
    for dims in (1, 2, 3):
        for kind in ("Max", "Average"):
            layer = f"Adaptive{kind}Pooling{dims}D"
            found.append(case(layer, _shape(dims, "channels_last"), output_size=3))
            found.append(
                case(
                    layer,
                    _shape(dims, "channels_first"),
                    output_size=4,
                    data_format="channels_first",
                )
            )
    found.append(case("AdaptiveAveragePooling2D", (9, 8, 3), output_size=(2, 5)))
    found.append(case("AdaptiveMaxPooling2D", (9, 8, 3), output_size=(2, 5)))
    return found
