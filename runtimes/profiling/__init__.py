"""How fast a model is, what it costs in memory, and where its time goes."""
