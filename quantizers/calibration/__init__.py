"""What activations are like: observers, statistics, ranges and scales."""
