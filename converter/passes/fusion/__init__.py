"""Neighbouring nodes computed as one."""
