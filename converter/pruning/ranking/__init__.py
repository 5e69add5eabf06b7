"""Which channels of a group matter least."""
