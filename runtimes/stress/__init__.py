"""Samples as the world gives them: perturbed."""
