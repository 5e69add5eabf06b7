"""What a candidate is worth next to the model that it would replace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from quantizers.options import Prefer
from runtimes.errors import DataError
from runtimes.profiling.report import NOISE_MARGIN, ProfileReport
from runtimes.readable import times


def check_preference(prefer: str) -> None:
    """Raise ``DataError`` for what is no preference."""
    if prefer not in get_args(Prefer):
        raise DataError(f"prefer={prefer!r}: prefer one of {', '.join(get_args(Prefer))}")


@dataclass(frozen=True)
class Gain:
    """A candidate's share of the size, how many times as fast it is, and how sure that is.

    ``speedups`` holds (batch size, ratio of median latencies) pairs; ``faster`` and ``slower``
    are true only beyond what interleaved runs on a shared machine can tell apart. ``prefer`` says
    what counts.
    """

    share: float
    speedups: tuple[tuple[int, float], ...]
    faster: bool
    slower: bool
    prefer: Prefer = "balanced"

    @classmethod
    def of(cls, profile: ProfileReport, prefer: Prefer = "balanced") -> Gain:
        """The gain that ``profile`` measured, of a model against another."""
        size, before = profile.size_bytes, profile.against_size_bytes
        assert size is not None
        assert before is not None
        return cls(
            size / before,
            tuple((found.batch, found.ratio or 1.0) for found in profile.batches),
            profile.faster(NOISE_MARGIN),
            profile.slower(NOISE_MARGIN),
            prefer,
        )

    @property
    def pays(self) -> bool:
        """Whether the candidate is faster, or smaller and no slower; or what is preferred alone."""
        if self.prefer == "size":
            return self.share < 1.0
        if self.prefer == "speed":
            return self.faster and not self.slower
        return not self.slower and (self.faster or self.share < 1.0)

    @property
    def verdict(self) -> str:
        """The gain in words, with the reason where it does not pay."""
        if self.pays:
            return str(self)
        missed = {"size": "no smaller", "speed": "no faster"}.get(
            self.prefer, "neither smaller nor faster"
        )
        return f"{'slower here' if self.slower and self.prefer != 'size' else missed}: {self}"

    def __str__(self) -> str:
        if len(self.speedups) == 1:
            return f"{times(self.share)} the size, {times(self.speedups[0][1])} as fast"
        ratios = ", ".join(f"{times(ratio)} at batch {batch}" for batch, ratio in self.speedups)
        return f"{times(self.share)} the size, as fast as {ratios}"
