"""Operators that the ONNX reference evaluator is given, in NumPy."""
