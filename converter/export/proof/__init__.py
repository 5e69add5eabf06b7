"""The proof that an exported file computes what Keras computes."""
