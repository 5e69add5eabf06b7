"""INT8 weights: codes, rounding, saturation and bias correction."""
