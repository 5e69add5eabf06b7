"""What is known of shapes, and nodes that only compute shapes."""
