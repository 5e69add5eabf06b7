"""Removing nodes and names that are not needed."""
