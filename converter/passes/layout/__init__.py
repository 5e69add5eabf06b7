"""Transposes moved to where they cost least."""
