"""The lowest versions that ``pyproject.toml`` allows, as constraints for pip.

Test tools are left out, because we choose their versions ourselves.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

EXTRAS = ("cpu", "keras", "images", "demo", "tabular")


def lowest() -> Iterator[str]:
    """``name==version`` of every dependency that has a lower bound."""
    with (Path(__file__).parents[1] / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    groups = [project["dependencies"], *(project["optional-dependencies"][e] for e in EXTRAS)]
    for requirement in (one for group in groups for one in group):
        name, found, bound = requirement.partition(">=")
        if found:
            yield f"{name}=={bound.split(',')[0]}"


if __name__ == "__main__":
    print("\n".join(lowest()))
