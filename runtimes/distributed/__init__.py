"""One task over the shards of data, in processes here or on the workers of a Dask cluster."""
