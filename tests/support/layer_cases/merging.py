"""Layers that join several inputs."""

from __future__ import annotations

from layer_cases.case import Case, Given, case


def cases() -> list[Case]:
    found = []
    for layer in ("Add", "Average", "Maximum", "Minimum", "Multiply"):
        found.append(case(layer, (6, 8), (6, 8)))
        found.append(case(layer, (6, 8), (6, 8), (6, 8), variant="three"))
        found.append(case(layer, (6, 8), (1, 8), variant="broadcast"))
    return [
        *found,
        case("Add", (6, 8), (8,), variant="ranks"),
        case("Subtract", (6, 8), (6, 8)),
        case("Subtract", (6, 8), (1, 8), variant="broadcast"),
        case("Concatenate", (6, 8), (6, 5)),
        case("Concatenate", (6, 8), (4, 8), axis=1),
        case("Concatenate", (6, 8), (6, 8), (6, 8), variant="three", axis=-2),
        case(
            "Concatenate",
            Given((None, 8), dynamic=(4,)),
            Given((None, 8), dynamic=(3,)),
            axis=1,
            variant="dynamic",
        ),
        case("Dot", (8,), (8,), axes=1),
        case("Dot", (6, 8), (5, 8), axes=2),
        case("Dot", (6, 8), (8, 5), axes=(2, 1)),
        case("Dot", (6, 8), (6, 5), axes=1),
        case("Dot", (6, 8), (8,), axes=(2, 1), variant="ranks"),
        case("Dot", (6, 8), (5, 8), axes=-1, normalize=True),
    ]
