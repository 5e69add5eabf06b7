"""What an ONNX file holds, without running it on data."""
