"""How many random examples a costly property is tried on."""

from __future__ import annotations

from hypothesis import settings

# What the profile "thorough" of conftest.py tries.
_THOROUGH = 300


def examples(thorough: int) -> settings:
    """So many with ``--hypothesis-profile thorough``, as CI has it; a third of them otherwise."""
    share = settings().max_examples / _THOROUGH
    return settings(max_examples=max(1, round(thorough * share)), deadline=None)
