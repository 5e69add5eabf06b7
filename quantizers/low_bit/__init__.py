"""Weights stored in fewer bits, in a form that ONNX Runtime computes once, when it loads a file."""
