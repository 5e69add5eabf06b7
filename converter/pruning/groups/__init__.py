"""Which channels must go together, and their removal."""
