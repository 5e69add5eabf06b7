"""What a candidate is worth next to the model that it would replace."""

from __future__ import annotations

from dataclasses import dataclass

from runtimes.profiling.report import NOISE_MARGIN, ProfileReport
from runtimes.readable import times


@dataclass(frozen=True)
class Gain:
    """A candidate's share of the size, how many times as fast it is, and how sure that is.

    ``speedups`` holds (batch size, ratio of median latencies) pairs; ``faster`` and ``slower``
    are true only beyond what interleaved runs on a shared machine can tell apart.
    """

    share: float
    speedups: tuple[tuple[int, float], ...]
    faster: bool
    slower: bool

    @classmethod
    def of(cls, profile: ProfileReport) -> Gain:
        """The gain that ``profile`` measured, of a model against another."""
        size, before = profile.size_bytes, profile.against_size_bytes
        assert size is not None
        assert before is not None
        return cls(
            size / before,
            tuple((found.batch, found.ratio or 1.0) for found in profile.batches),
            profile.faster(NOISE_MARGIN),
            profile.slower(NOISE_MARGIN),
        )

    @property
    def pays(self) -> bool:
        """Whether the candidate is faster, or smaller and no slower."""
        return not self.slower and (self.faster or self.share < 1.0)

    @property
    def verdict(self) -> str:
        """The gain in words, with the reason where it does not pay."""
        if self.pays:
            return str(self)
        return f"{'slower here' if self.slower else 'neither smaller nor faster'}: {self}"

    def __str__(self) -> str:
        if len(self.speedups) == 1:
            return f"{times(self.share)} the size, {times(self.speedups[0][1])} as fast"
        ratios = ", ".join(f"{times(ratio)} at batch {batch}" for batch, ratio in self.speedups)
        return f"{times(self.share)} the size, as fast as {ratios}"
