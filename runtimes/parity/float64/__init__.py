"""A graph evaluated in float64, to know how far rounding moves it."""
