"""Graphs from text whose initializers are given as arrays."""

from pruning_fixtures import graph  # noqa: F401
