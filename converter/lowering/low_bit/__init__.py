"""Keras layers with int8 or int4 weights, written with the bits that they have."""
