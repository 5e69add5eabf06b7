"""Graphs from text, run and compared before and after a rewrite."""

from graph_fixtures import check_pass, graph, ops, random_feed, run  # noqa: F401
