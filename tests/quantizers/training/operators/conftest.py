"""Graphs from text that names the graph, too."""

from quantizer_fixtures import graph  # noqa: F401
