"""What is known of each operator in INT8: a small class an operator, and the table of them."""
