"""TensorFlow operators written as ONNX nodes; ``table`` lists them."""
