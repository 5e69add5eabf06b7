"""Operators brought into a form that has an INT8 kernel."""
