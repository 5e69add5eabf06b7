"""ONNX files: read, streamed and written without copies of the weights."""
