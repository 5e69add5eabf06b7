"""Bundles that are sent to a server while it runs: only the parts that it lacks travel."""
