"""Structured pruning on the graph: which channels go together, which may go, what repairs it.

Names are imported on first use, as in ``converter``.
"""
