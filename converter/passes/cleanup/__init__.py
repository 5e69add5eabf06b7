"""Nodes and names that nothing needs."""
