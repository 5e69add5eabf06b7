"""Export a Keras model to an ONNX file that has been run and matches it."""
