"""Graphs from text and their dependencies."""

from pruning_fixtures import dependencies_of, graph  # noqa: F401
