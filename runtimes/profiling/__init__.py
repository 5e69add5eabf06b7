"""How fast a model is, how much memory it needs, and where its time goes."""
