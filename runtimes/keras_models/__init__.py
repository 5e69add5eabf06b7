"""Keras models of versions 1 to 3 read from files, and their configuration."""
