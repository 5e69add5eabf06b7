"""A compressed graph that trains: an ONNX graph whose initializers are variables."""
