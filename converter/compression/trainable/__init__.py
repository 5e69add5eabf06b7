"""Compressed models that train like any Keras model: quantized, pruned, or with shared weights."""
