"""Graphs from text, run through ONNX Runtime."""

from quantizer_fixtures import bound, graph, images, residual_model, run, sqnr  # noqa: F401
