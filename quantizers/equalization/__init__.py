"""Channels scaled so that one range suits all of them."""
