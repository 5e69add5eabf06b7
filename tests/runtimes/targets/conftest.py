"""Graphs from text."""

from graph_fixtures import graph  # noqa: F401
