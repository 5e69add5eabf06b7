"""Graphs from text, for the tests of costs."""

from graph_fixtures import graph  # noqa: F401
