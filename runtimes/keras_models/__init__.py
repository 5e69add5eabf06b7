"""Reading models of Keras 1 to 3 from files, and their configuration."""
