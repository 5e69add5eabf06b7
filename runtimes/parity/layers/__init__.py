"""Where two models diverge, layer by layer."""
