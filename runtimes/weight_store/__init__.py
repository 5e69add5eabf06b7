"""Several models that share their weights on disk and in memory."""
