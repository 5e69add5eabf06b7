"""How far a float result may be from the one it is held against: the rule of export and check.

Frameworks sum in another order, so float32 results differ by some units in the last place per
layer, and a wrong layer by 1e-2. Where a model amplifies rounding, its own rounding error is the
measure (``runtimes.parity.rounding_noise``).
"""

from __future__ import annotations

NOISE_MULTIPLE = 16.0
"""How many times the reference's own rounding error a float candidate may differ from it."""

ABSOLUTE_FLOOR = 1e-7
"""What outputs that are all but zero may differ by."""

# By element type, relative to the largest magnitude of the output.
_RELATIVE = {"float64": 1e-9, "float32": 1e-4, "float16": 2e-2, "bfloat16": 1e-1}


def relative_tolerance(peak: float, dtype: str = "float32") -> float:
    """The largest absolute error of an output of this element type and largest magnitude."""
    return _RELATIVE.get(dtype, _RELATIVE["float32"]) * peak


def noise_tolerance(noise: float) -> float:
    """The largest absolute error where the reference's own rounding error is ``noise``."""
    return NOISE_MULTIPLE * noise
