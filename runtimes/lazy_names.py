"""Names of a package that are imported on first use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(
    package: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a package whose names come from elsewhere.

    A command that needs one of the names does not pay for the import of all, see
    https://peps.python.org/pep-0562/.

    Args:
        package: The name of the package.
        homes: The public names to the modules that define them.

    Returns:
        The two functions; the first raises ``AttributeError`` for other names, as Python does.
    """

    def __getattr__(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(homes[name]), name)

    def __dir__() -> list[str]:
        return sorted(homes)

    return __getattr__, __dir__
