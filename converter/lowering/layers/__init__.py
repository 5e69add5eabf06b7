"""Keras layers written as ONNX nodes; ``table`` lists them."""
