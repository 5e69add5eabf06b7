"""Trace a Keras model as one TensorFlow graph without its weights."""
