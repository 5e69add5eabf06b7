"""Serve ONNX models over the network, by the Open Inference Protocol."""
