"""ONNX operators in TensorFlow, for values and gradients: a file for each kind of operator."""
