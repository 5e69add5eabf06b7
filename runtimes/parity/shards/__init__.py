"""Comparing two models shard by shard, here or elsewhere, with the report of the whole."""
