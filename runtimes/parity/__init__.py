"""Whether two models do the same job: errors, budget and verdict."""
