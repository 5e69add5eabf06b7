"""What may run in INT8 and how, one operator at a time, and the plan for a model."""
