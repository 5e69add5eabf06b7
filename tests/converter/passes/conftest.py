"""Graphs from text, run and compared before and after a pass."""

from graph_fixtures import check_pass, graph, ops, random_feed, run  # noqa: F401
