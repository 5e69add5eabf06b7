"""Engines that run a model: ONNX Runtime, OpenVINO, the ONNX reference, Keras."""
