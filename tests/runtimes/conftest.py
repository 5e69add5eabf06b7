"""Graphs from text, saved models and scores."""

from runtime_fixtures import graph, keras2_hdf5, saved, scaled, scores  # noqa: F401
