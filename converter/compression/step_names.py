"""The steps of ``compress`` by name, for those who need no more of them."""

STEP_NAMES = ("dedupe", "prune", "quantize")
"""In the order in which they run."""
