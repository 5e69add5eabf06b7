"""What a teacher said, kept for the next student: asking it takes as long as training on it."""

from __future__ import annotations

from collections.abc import Sequence

from quantizers.training.pool import Group, bytes_of
from quantizers.training.targets import Target

# All of them together.
_MOST_BYTES = 256 * 2**20


class Pools:
    """What the teacher said, by draw, as far as there is room."""

    def __init__(self) -> None:
        self._asked: list[tuple[str, str]] = []
        self._held: dict[int, list[Group]] = {}

    def belong_to(self, targets: Sequence[Target]) -> None:
        """Forget what was said where other values are asked for now."""
        asked = [(target.output, target.teacher) for target in targets]
        if asked != self._asked:
            self._asked, self._held = asked, {}

    def get(self, draw: int) -> list[Group] | None:
        """What was said of that draw, if it is held."""
        return self._held.get(draw)

    def keep(self, draw: int, groups: list[Group]) -> None:
        """Hold it where there is room; what every training begins with, in any case."""
        held = sum(bytes_of(pool) for pool in self._held.values())
        if draw <= 0 or held + bytes_of(groups) <= _MOST_BYTES:
            self._held[draw] = groups
