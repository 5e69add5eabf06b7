"""The graph toolkit: values, rewrites, folding and arithmetic over an ONNX graph."""
