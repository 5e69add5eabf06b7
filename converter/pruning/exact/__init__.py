"""Channels whose removal changes nothing."""
