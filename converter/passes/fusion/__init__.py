"""Fusing adjacent nodes."""
