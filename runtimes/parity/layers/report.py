"""What a comparison layer by layer found, and how it is put into words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from runtimes.readable import ReadableReport

ROUNDING_DB = 100.0
"""An SQNR above this is what rounding in float32 leaves."""


@dataclass(frozen=True)
class LayerParity:
    """One value of the candidate against the reference's.

    ``layer`` is the Keras layer's path (the node's name where none is known; several, joined by
    " + ", where nothing between them could be compared), ``operators`` are the
    candidate's between the values before and this one, ``reference`` the layer or value that it was
    held against. Errors are the largest, absolute, ``relative`` to the reference's peak; SQNR in
    dB, None where nothing differs. ``own_noise`` is the rounding error of the layer alone, measured
    in float64 where it mattered. ``departs``: the isolated error is no rounding.
    """

    layer: str
    value: str
    reference: str
    operators: tuple[str, ...]
    peak: float
    error: float
    relative_error: float
    sqnr_db: float | None
    isolated_error: float
    isolated_relative_error: float
    isolated_sqnr_db: float | None
    own_noise: float | None
    departs: bool


@dataclass(frozen=True)
class LayersReport(ReadableReport):
    """All layers that could be compared, in the candidate's order, and which one is to blame."""

    culprit: str | None
    first_jump: str | None
    reason: str
    reference: str
    candidate: str
    samples: int
    layers: tuple[LayerParity, ...]
    notes: tuple[str, ...]

    def headline(self) -> str:
        """Which layer departs, if any does."""
        return self.reason

    def rows(self) -> list[dict[str, str]]:
        """One row of formatted cells a layer, for a table."""
        return [
            {
                "layer": one.layer,
                "operators": " ".join(one.operators),
                "error": f"{one.relative_error:.2e}",
                "SQNR": in_decibels(one.sqnr_db),
                "alone": f"{one.isolated_relative_error:.2e}",
                "SQNR alone": in_decibels(one.isolated_sqnr_db),
                "": "← departs" if one.departs else "",
            }
            for one in self.layers
        ]


def explain_layers(
    culprit: LayerParity | None,
    jump: LayerParity | None,
    layers: Sequence[LayerParity],
    *,
    quantized: bool,
) -> str:
    """One sentence: who is to blame, or that nobody is."""
    if culprit is None:
        last = layers[-1]
        if quantized:
            worst = min(
                (one for one in layers if one.isolated_sqnr_db is not None),
                key=lambda one: one.isolated_sqnr_db or 0.0,
                default=last,
            )
            return (
                "no layer stands out; the least exact alone is "
                f"{worst.layer!r} ({in_decibels(worst.isolated_sqnr_db)}), "
                f"at the end {in_decibels(last.sqnr_db)}"
            )
        return f"every layer is the reference's but for rounding ({len(layers)} compared)"
    what = " ".join(culprit.operators)
    if quantized:
        found = f"alone it has {in_decibels(culprit.isolated_sqnr_db)}, far below the others"
    else:
        noise = ""
        if culprit.own_noise:
            times = culprit.isolated_error / culprit.own_noise
            noise = f", {times:.3g}× its own rounding error"
        found = f"alone it is off by {culprit.isolated_relative_error:.3g} of its peak{noise}"
    return f"the layer {culprit.layer!r} ({what}) departs from the reference: {found}"


def decibels(signal: float, noise: float) -> float | None:
    """The ratio of two powers in dB; None where there is no noise."""
    if noise == 0:
        return None
    if not math.isfinite(noise) or signal == 0:
        return -math.inf
    return 10 * math.log10(signal / noise)


def in_decibels(value: float | None) -> str:
    """A ratio of ``decibels`` in words."""
    return "exact" if value is None else f"{value:.1f} dB"
