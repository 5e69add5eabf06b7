"""Metrics of labelled samples, and how sure a difference is."""
