"""Inferring shapes, and simplifying nodes that only compute shapes."""
