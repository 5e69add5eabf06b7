"""Small graphs to compress."""

from quantizer_fixtures import bound, graph, images, residual_model, run, sqnr  # noqa: F401
