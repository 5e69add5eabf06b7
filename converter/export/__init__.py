"""From a Keras model to an ONNX file that has run and matched it."""
