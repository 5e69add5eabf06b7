"""The graph toolkit: values, rewrites, constant folding and arithmetic on an ONNX graph."""
