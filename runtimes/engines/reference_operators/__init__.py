"""NumPy operators that complete the ONNX reference evaluator."""
