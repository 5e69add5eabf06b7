"""Small graphs for the command line."""

from quantizer_fixtures import graph  # noqa: F401
