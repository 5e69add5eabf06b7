"""Samples from any source, bound to the inputs of a model."""
