"""What a candidate is worth next to the model that it would replace."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import get_args

from quantizers.options import Prefer
from runtimes.base import Feed
from runtimes.costs import Costs
from runtimes.errors import DataError
from runtimes.onnx_files.load_save import ModelSource
from runtimes.profiling.report import NOISE_MARGIN, ProfileReport
from runtimes.readable import times
from runtimes.suggestions import did_you_mean

# A model that a race finds slower than the one it comes from by more than this, for certain, is not
# what the cost table said it is.
_BEYOND_DOUBT = 0.05
# Beside a table that errs by a fifth for small models, another candidate was faster for certain.
_MUCH_FASTER = 0.25


def check_preference(prefer: str) -> None:
    """Raise ``DataError`` for what is no preference."""
    if prefer not in get_args(Prefer):
        raise DataError(
            f"prefer={prefer!r}{did_you_mean(prefer, get_args(Prefer))}: prefer one of "
            f"{', '.join(get_args(Prefer))}"
        )


@dataclass(frozen=True)
class Gain:
    """A candidate's share of the size, how many times as fast it is, and how sure that is.

    ``speedups`` holds (batch size, ratio of latencies) pairs; ``faster`` and ``slower`` are true
    only beyond what the cost table, or interleaved runs where there is none, can tell apart.
    ``prefer`` says what counts; ``is_predicted``: the cost table says so.
    """

    share: float
    speedups: tuple[tuple[int, float], ...]
    faster: bool
    slower: bool
    prefer: Prefer = "balanced"
    is_predicted: bool = False

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

    @classmethod
    def predicted(  # noqa: PLR0917
        cls,
        candidate: ModelSource,
        than: ModelSource,
        feeds: Iterable[Feed],
        costs: Costs,
        share: float,
        prefer: Prefer = "balanced",
    ) -> Gain:
        """The gain by the cost table, at the batch size of each of ``feeds``."""
        speedups, sure = [], []
        for feed in feeds:
            own, other = costs.predict_all([candidate, than], feed)
            ratio = other.microseconds / own.microseconds
            doubt = max(NOISE_MARGIN, own.doubt_next_to(other))
            speedups.append((max((len(a) for a in feed.values() if a.ndim), default=1), ratio))
            sure.append((ratio > 1 + doubt, ratio < 1 / (1 + doubt)))
        faster, slower = zip(*sure, strict=True)
        return cls(share, tuple(speedups), all(faster), any(slower), prefer, is_predicted=True)

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
        size = f"{times(self.share)} the size"
        if len(self.speedups) > 1:
            ratios = ", ".join(f"{times(ratio)} at batch {batch}" for batch, ratio in self.speedups)
            return f"{size}, as fast as {ratios}"
        speed = f"{times(self.speedups[0][1])} as fast"
        # The table next to it holds what was raced, and against fp32.
        found = f"about {speed} as before by the cost table" if self.is_predicted else speed
        return f"{size}, {found}"


def lost_race(
    ratio: float | None, low: float | None, high: float | None, prefer: Prefer = "balanced"
) -> str | None:
    """Why a candidate is not shipped that a race found slower beyond doubt; None where it is.

    ``ratio``: how many times as fast as the model it comes from, with its 95% interval. The clock
    confirms and does not choose: only an interval counts that lies wholly below.
    """
    if prefer == "size" or ratio is None or high is None or high > 1 / (1 + _BEYOND_DOUBT):
        return None
    return (
        f"slower here: {times(ratio)} as fast in a race ({times(low or 0.0)} to {times(high)}), "
        "though the cost table says otherwise"
    )


def lost_to_another(
    high: float | None, before: float | None, prefer: Prefer = "balanced"
) -> str | None:
    """Why a candidate does not replace another one that was much faster in its own race.

    ``high``: how many times as fast as the reference it is at most; ``before``: the other one, at
    least. Both were timed at different moments, so the margin is as wide as the table errs.
    """
    if prefer == "size" or high is None or before is None or high * (1 + _MUCH_FASTER) > before:
        return None
    return (
        f"slower here than what it would replace: at most {times(high)} as fast as the reference, "
        f"and that was at least {times(before)}, in races"
    )


def lost_races(race: ProfileReport, prefer: Prefer = "balanced") -> str | None:
    """The same of a race at several batch sizes: the first that was lost."""
    lost = (lost_race(one.ratio, one.ratio_low, one.ratio_high, prefer) for one in race.batches)
    return next((reason for reason in lost if reason), None)
